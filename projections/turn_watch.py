"""Whether the last turn has ended, event by event, by the rules of the view and without its texts."""

from __future__ import annotations

from turnlog.domain.events import FRAGMENTS, FunctionCallDelta
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.projector import Projector
from turnlog.projections.turn import Turn

_WITHOUT_EFFECT = tuple(kind for kind in FRAGMENTS if kind is not FunctionCallDelta)
"""A function call has no event that starts it: its first fragment says that the turn goes on."""

CLOSED_AT_MOST = 8
"""So many turns are kept whole after they were closed: to forget them costs a look at each turn of the session."""


class TurnWatch:
    """Goes on from a projector, of which it keeps the last turns only. `has_ended` is that of the last one."""

    def __init__(self, projector: Projector) -> None:
        self._projector = _without_closed_turns(projector)
        self._count = self._projector.turn_count
        self.has_ended = self._projector.has_turn_ended

    def apply(self, recorded: RecordedEvent) -> bool:
        """Takes the next event in. Returns `has_ended`."""
        if not isinstance(recorded.event, _WITHOUT_EFFECT):
            self._projector.apply(recorded)
            self.has_ended = self._projector.has_turn_ended
            self._forget_closed_turns()
        return self.has_ended

    def _forget_closed_turns(self) -> None:
        if self._projector.turn_count - self._count > CLOSED_AT_MOST:
            self._projector = _without_closed_turns(self._projector)
            self._count = self._projector.turn_count


def _without_closed_turns(projector: Projector) -> Projector:
    """A closed turn as but a place: what still comes for one has no say in how the last one stands."""
    head = projector.head()
    return Projector.resume(head, [Turn(index=index, position=0) for index in range(head.closed_turns)])
