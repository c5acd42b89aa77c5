"""Says after each event whether the last turn has ended, by the rules of the view but without its texts."""

from __future__ import annotations

from turnlog.domain.events import FRAGMENTS, FunctionCallDelta, SessionEvent
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.projector import Projector

CLOSED_AT_MOST = 8
"""Closed turns that are kept whole, at most."""

_WITHOUT_EFFECT = tuple(kind for kind in FRAGMENTS if kind is not FunctionCallDelta)
"""No event starts a function call, so its first fragment is what says that the turn goes on."""


class TurnWatch:
    """Goes on from a projector, but keeps only the last turns of it. `has_ended`: whether the last turn has ended."""

    def __init__(self, projector: Projector) -> None:
        self._projector = _EndProjector.end_of(projector)
        self._count = self._projector.page_count
        self.has_ended = self._projector.has_turn_ended

    def apply(self, recorded: RecordedEvent) -> bool:
        """Folds the next event in. Returns `has_ended`."""
        if not isinstance(recorded.event, _WITHOUT_EFFECT):
            self._projector.apply(recorded)
            self.has_ended = self._projector.has_turn_ended
            self._forget_closed_turns()
        return self.has_ended

    def _forget_closed_turns(self) -> None:
        if self._projector.page_count - self._count > CLOSED_AT_MOST:
            self._projector = _EndProjector.end_of(self._projector)
            self._count = self._projector.page_count


class _EndProjector(Projector):
    """A projector of the last turns alone. What still comes for a turn that it does not hold goes nowhere: it does not
    matter for the last one."""

    @classmethod
    def end_of(cls, projector: Projector) -> Projector:
        """The projector without its closed turns, and without the messages of those that prompts go on to need."""
        return cls.resume(projector.head().model_copy(update={"pinned": ()}), ())

    def _reaches_back(self, event: SessionEvent) -> bool:  # noqa: ARG002 none does
        return False
