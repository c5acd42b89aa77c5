"""Whole messages as steps, and which call an imported result belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from turnlog.domain.events import FunctionCall, MessageAdded, MessageImported, ToolCall, imported_step_id
from turnlog.domain.foreign import ForeignCall, ForeignMessage, ForeignResult
from turnlog.domain.quoting import quoted
from turnlog.projections.ended import EndedFold
from turnlog.projections.placeholders import is_placeholder
from turnlog.projections.turn import Fault, Message, Step, StepMessage, StepToolCall, ToolResult
from turnlog.projections.turn_fold import TurnFold
from turnlog.projections.turns import Turns


def whole_step(event: MessageAdded, position: int) -> EndedFold:
    """The step of an assistant message that did not come as a stream."""
    message = StepMessage(
        content=event.content,
        refusal=event.refusal,
        tool_calls=_numbered(event.tool_calls),
        function_call=event.function_call,
        name=event.name,
    )
    return EndedFold(_finished_step(event.message_id, position, message, event))


def fold_imported(turns: Turns, event: MessageImported, position: int) -> None:
    """Files the items of an imported message, each result under its call, wherever that is."""
    for flaw in event.reading.flaws:
        turns.add_fault(flaw.kind, position, flaw.text)
    for number, item in enumerate(event.reading.items):
        item_id = imported_step_id(event.message_id, number)
        if isinstance(item, ForeignResult):
            _add_result(turns, item, event, position)
        elif item.role == "assistant":
            _add_step(turns, _foreign_step(item, item_id, event, position))
        else:
            message = Message(
                message_id=item_id,
                position=position,
                role=item.role,
                content=item.content,
                name=item.name,
                at=_written_at(event),
                origin=event.format,
            )
            turns.add_message(message)


def _foreign_step(item: ForeignMessage, step_id: str, event: MessageImported, position: int) -> Step:
    function = item.function_call
    message = StepMessage(
        content=item.content,
        refusal=item.refusal,
        reasoning=item.reasoning,
        reasoning_details=item.details,
        tool_calls=_numbered(item.calls),
        function_call=FunctionCall(name=function[0], arguments=function[1]) if function else None,
        name=item.name,
        layout=item.layout,
    )
    return _finished_step(step_id, position, message, event)


def _numbered(calls: Iterable[ToolCall | ForeignCall]) -> tuple[StepToolCall, ...]:
    return tuple(_at(index, call) for index, call in enumerate(calls))


def _at(index: int, call: ToolCall | ForeignCall) -> StepToolCall:
    is_custom = isinstance(call, ForeignCall) and call.custom
    return StepToolCall(index=index, id=call.id, name=call.name, arguments=call.arguments, custom=is_custom)


def _written_at(event: MessageImported) -> datetime:
    """When the message was written, as far as it says. When it was imported is the event's own time."""
    return event.reading.at or event.at


def _finished_step(step_id: str, position: int, message: StepMessage, event: MessageAdded | MessageImported) -> Step:
    at = _written_at(event) if isinstance(event, MessageImported) else event.at
    return Step(
        step_id=step_id,
        position=position,
        message=message,
        status="finished",
        model=event.reading.model if isinstance(event, MessageImported) else None,
        started_at=at,
        ended_at=at,
        origin=event.format if isinstance(event, MessageImported) else None,
    )


def _add_step(turns: Turns, step: Step) -> None:
    position, ended = step.position, EndedFold(step)
    reused = [call for call in step.message.tool_calls if call.id in turns.imported_ids]
    turn = turns.latest(position)
    for call in step.message.tool_calls:
        # A fast tool's result may have been stored before its call.
        early = turn.orphans.take(call.id) if call.id else None
        if early is not None:
            ended.add_result(early.model_copy(update={"index": call.index}))
    turns.add_step(step.step_id, ended, position)
    if not _repeats_attempt(turn, step):
        for call in reused:
            text = f"the call id {quoted(call.id)} was used before"
            turns.add_fault("reused_call_id", position, text, call.index)


def _repeats_attempt(turn: TurnFold, step: Step) -> bool:
    """Whether the last step of the turn, `step`, makes the calls of the one before it again, which has no results."""
    before = next(islice(reversed(turn.steps.values()), 1, None), None)
    if not isinstance(before, EndedFold) or before.results:
        return False
    return {call.id for call in before.step.message.tool_calls} <= {call.id for call in step.message.tool_calls}


def _add_result(turns: Turns, item: ForeignResult, event: MessageImported, position: int) -> None:
    result = ToolResult(
        call_id=item.call_id,
        index=-1,
        status="error" if item.is_error else "final",
        content=item.content,
        position=position,
        at=_written_at(event),
        data=item.data,
        origin=event.format,
    )
    found = _call_for(turns, item)
    if found is None:
        turns.latest(position).orphans.add(result)
    else:
        step, call = found
        _file_result(turns, step, result.model_copy(update={"index": call.index}))


def _file_result(turns: Turns, step: EndedFold, result: ToolResult) -> None:
    turn = turns.turn_of(step.step, result.position)
    known = step.results.get(result.index)
    if known is None:
        if turn.index < turns.turn_count - 1:
            text = f"the user spoke between the call {quoted(result.call_id)} and its result"
            fault = Fault(kind="user_message_between", position=result.position, index=result.index, message=text)
            turn.flaws.append(fault)
        turn.add_result(step.step.step_id, result)
    elif known.position < step.step.position:
        # The early result that the call was given before is not its own: its own is this one, after the call.
        turn.add_result(step.step.step_id, result)
        turn.orphans.add(known)
    else:
        stays = is_placeholder(result.content) and not is_placeholder(known.content)
        if not stays:
            turn.add_result(step.step.step_id, result)
        which = "the first" if stays else "the last"
        text = f"call {quoted(result.call_id)} has a second result; {which} one is kept"
        turns.add_fault("duplicate_result", result.position, text, result.index)


def _call_for(turns: Turns, item: ForeignResult) -> tuple[EndedFold, StepToolCall] | None:
    """The call that the result answers: the latest unanswered one of its id, else the latest one of its id."""
    answered: tuple[EndedFold, StepToolCall] | None = None
    for step in _steps_meant(turns, item):
        call = _call_meant(step, item)
        if call is not None and call.index not in step.results:
            return step, call
        if call is not None:
            answered = answered or (step, call)
        if not item.call_id:
            return answered
    return answered


def _steps_meant(turns: Turns, item: ForeignResult) -> Iterable[EndedFold]:
    """The ended steps that may have made the call, the latest first."""
    return turns.steps_that_called(item.call_id) if item.call_id else turns.steps_before()


def _call_meant(step: EndedFold, item: ForeignResult) -> StepToolCall | None:
    """The step's call that a result may answer. Without an id: the first of its name, or one without an id."""
    named = step.unanswered_of(item.name) if item.name is not None and not item.call_id else None
    return named or step.call_of(item.call_id)
