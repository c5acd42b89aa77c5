"""Where a session may be compacted: not across a step that is still being written, or that waits for a result."""

from __future__ import annotations

from turnlog.domain.errors import InvalidInputError
from turnlog.projections.turn import Step
from turnlog.projections.view import SessionView


def check_compaction(view: SessionView, upto: int) -> None:
    """Raises InvalidInputError if a step up to this position is unfinished: its result would have no call."""
    for step in (step for turn in view.turns for step in turn.steps if step.position <= upto):
        if _is_unfinished(step):
            raise InvalidInputError("upto", f"the step at {step.position} is open or waits for a tool result")
    for step in view.turns[-1].steps[-1:] if view.turns else ():
        if step.position <= upto and step.status == "finished" and step.unanswered_calls():
            raise InvalidInputError("upto", f"the step at {step.position} waits for a tool result")


def _is_unfinished(step: Step) -> bool:
    return step.status == "open" or any(result.status == "pending" for result in step.tool_results)
