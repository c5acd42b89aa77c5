"""Whether the last turn has ended, event by event, by the rules of the view and without its texts."""

from __future__ import annotations

from turnlog.domain.events import FunctionCallDelta, ReasoningDelta, RefusalDelta, TextDelta, ToolCallArgumentsDelta
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.projector import Projector
from turnlog.projections.view import Turn

_TEXTS = (TextDelta, ReasoningDelta, RefusalDelta, FunctionCallDelta, ToolCallArgumentsDelta)


class TurnWatch:
    """Goes on from a projector, of which it keeps the open turns only. `has_ended` is that of the last turn."""

    def __init__(self, projector: Projector) -> None:
        head = projector.head()
        # A closed turn is but a place: what still comes for one has no say in how the last one stands.
        places = [Turn(index=index, position=0) for index in range(head.closed_turns)]
        self._projector = Projector.resume(head, places)
        self.has_ended = self._projector.has_turn_ended

    def apply(self, recorded: RecordedEvent) -> bool:
        """Takes the next event in. Returns `has_ended`."""
        if not isinstance(recorded.event, _TEXTS):
            self._projector.apply(recorded)
            self.has_ended = self._projector.has_turn_ended
        return self.has_ended
