"""Whole messages as steps, and what imported ones belong to."""

from __future__ import annotations

from collections.abc import Sequence

from turnlog.domain.events import FunctionCall, MessageAdded, MessageImported
from turnlog.domain.foreign import ForeignMessage, ForeignResult
from turnlog.projections.fold import StepFold
from turnlog.projections.view import Step, StepMessage, StepToolCall


def whole_step(event: MessageAdded, position: int) -> Step:
    """The step of an assistant message that did not come as a stream."""
    calls = tuple(
        StepToolCall(index=index, id=call.id, name=call.name, arguments=call.arguments)
        for index, call in enumerate(event.tool_calls)
    )
    message = StepMessage(
        content=event.content,
        refusal=event.refusal,
        tool_calls=calls,
        function_call=event.function_call,
        name=event.name,
    )
    return Step(
        step_id=event.message_id,
        position=position,
        message=message,
        status="finished",
        started_at=event.at,
        ended_at=event.at,
    )


def foreign_step(item: ForeignMessage, step_id: str, event: MessageImported, position: int) -> Step:
    """The step of an imported assistant message."""
    calls = tuple(
        StepToolCall(index=index, id=call.id, name=call.name, arguments=call.arguments)
        for index, call in enumerate(item.calls)
    )
    function = item.function_call
    message = StepMessage(
        content=item.content,
        refusal=item.refusal,
        reasoning=item.reasoning,
        reasoning_details=item.details,
        tool_calls=calls,
        function_call=FunctionCall(name=function[0], arguments=function[1]) if function else None,
        name=item.name,
    )
    return Step(
        step_id=step_id,
        position=position,
        message=message,
        status="finished",
        started_at=event.at,
        ended_at=event.at,
        origin=event.format,
    )


def calls_meant(step: Step, item: ForeignResult) -> list[StepToolCall]:
    """The step's calls that a result may answer. Without an id: those without one, or the first of its name."""
    calls = [call for call in step.message.tool_calls if call.id == item.call_id]
    if calls or item.call_id or item.name is None:
        return calls
    return [call for call in step.unanswered_calls() if call.name == item.name][:1]


def is_attempt_again(steps: Sequence[Step | StepFold], step: Step) -> bool:
    """Whether the last of these steps, `step`, makes the calls of the one before it again, which has no results."""
    before = steps[-2] if len(steps) > 1 else None
    if not isinstance(before, Step) or before.tool_results:
        return False
    return {call.id for call in before.message.tool_calls} <= {call.id for call in step.message.tool_calls}
