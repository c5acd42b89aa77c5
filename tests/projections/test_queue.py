"""What a view shows as queued."""

from __future__ import annotations

from hypothesis import given

from tests.support.strategies import histories
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.projector import Projector


@given(histories)
def test_what_is_queued_came_after_a_step_that_is_not_over(history: list[RecordedEvent]) -> None:
    view = Projector(history[0].session_id).apply_all(history).view()
    steps = [step for turn in view.turns for step in turn.steps]
    for turn in view.turns:
        for message in turn.messages:
            if message.queued:
                last = steps[-1]
                assert message.position > last.position
                assert last.status == "open" or last.unanswered_calls()
