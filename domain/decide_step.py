"""The decisions about one step: what is appended to it, and how it begins and ends."""

from __future__ import annotations

from typing import assert_never

from turnlog.domain.calls import CallHead
from turnlog.domain.commands import AddToolResult, BeginCompletion, EndCompletion, StepCommand
from turnlog.domain.decide_result import add_result
from turnlog.domain.decide_turn import ABANDONED, NewsError, abandoned, check_alive, owned, turn_ended
from turnlog.domain.errors import (
    LimitExceededError,
    StepClosedError,
    ToolCallConflictError,
    TurnClosedError,
    TurnInProgressError,
)
from turnlog.domain.events import (
    CompletionStarted,
    FunctionCallDelta,
    PartDelta,
    PartExtended,
    PartStarted,
    ReasoningDelta,
    RefusalDelta,
    SessionEvent,
    TextDelta,
    ToolCallArgumentsDelta,
    ToolCallNamed,
    ToolCallStarted,
)
from turnlog.domain.inputs import checked_short
from turnlog.domain.limits import MAX_CALL_ID_LENGTH, MAX_CALLS
from turnlog.domain.quoting import quoted
from turnlog.domain.state import Active, OpenStep
from turnlog.domain.step_appends import (
    AnyStepAppend,
    AppendFunctionCall,
    AppendReasoning,
    AppendRefusal,
    AppendText,
    AppendToolCall,
    AppendToPart,
    AppendWholeToolCall,
    ExtendPart,
    StartPart,
)
from turnlog.domain.values import fingerprint

Events = tuple[SessionEvent, ...]


def decide_append(state: Active, command: AnyStepAppend) -> Events:
    """The events of an append to an open step; none if there is nothing in it. Raises StepClosedError,
    ToolCallConflictError and LimitExceededError."""
    step = state.open_steps.get(command.step_id)
    if step is None:
        raise StepClosedError(command.step_id)
    if isinstance(command, AppendText):  # nearly all are
        text = command.text
        return (TextDelta(at=command.at, step_id=command.step_id, text=text),) if text else ()
    match command:
        case AppendReasoning(at, step_id, text, details):
            return (ReasoningDelta(at=at, step_id=step_id, text=text, details=details),) if text or details else ()
        case AppendRefusal(at, step_id, text):
            return (RefusalDelta(at=at, step_id=step_id, text=text),) if text else ()
        case AppendToolCall():
            return _tool_call_fragment(step, command)
        case AppendWholeToolCall():
            return _whole_tool_call(step, command)
        case AppendFunctionCall(at, step_id, name, arguments):
            delta = FunctionCallDelta(at=at, step_id=step_id, name=name, arguments=arguments)
            return (delta,) if name or arguments else ()
        case StartPart(at, step_id, part, kind, api, call, data):
            return (PartStarted(at=at, step_id=step_id, part=part, kind=kind, api=api, call=call, data=data),)
        case AppendToPart(at, step_id, part, field, text):
            return (PartDelta(at=at, step_id=step_id, part=part, field=field, text=text),) if text else ()
        case ExtendPart(at, step_id, part, data):
            return (PartExtended(at=at, step_id=step_id, part=part, data=data),)
        case _:
            assert_never(command)


def _tool_call_fragment(step: OpenStep, command: AppendToolCall) -> Events:
    at, step_id, index = command.at, command.step_id, command.index
    events: list[SessionEvent] = []
    head = step.calls.get(index)
    if head is None:
        _check_call(command.id, command.name)
        if len(step.calls.by_index) >= MAX_CALLS:
            raise LimitExceededError("tool_calls", f"a response has at most {MAX_CALLS:,} calls", MAX_CALLS)
        started = ToolCallStarted(
            at=at, step_id=step_id, index=index, id=command.id, name=command.name, custom=command.custom
        )
        events.append(started)
    else:
        named_id, name = head.id or command.id, _continued_name(head, command.name)
        if (named_id, name) != (head.id, head.name):
            _check_call(named_id, name)
            events.append(ToolCallNamed(at=at, step_id=step_id, index=index, id=named_id, name=name))
    if command.arguments:
        delta = ToolCallArgumentsDelta(at=at, step_id=step_id, index=index, arguments=command.arguments)
        events.append(delta)
    return tuple(events)


def _check_call(call_id: str, name: str) -> None:
    # A name comes whole in each event that continues it, so it must not go on for ever.
    checked_short(name, "name")
    checked_short(call_id, "id", MAX_CALL_ID_LENGTH)


def _continued_name(head: CallHead, fragment: str) -> str:
    # Some providers repeat the name with every fragment, or all of it that has come, and others cut it in pieces. So it
    # is continued only until arguments follow it, and never by itself. It may come behind the first arguments.
    if not fragment or head.is_named or fragment == head.name:
        return head.name
    return fragment if fragment.startswith(head.name) else head.name + fragment


def _whole_tool_call(step: OpenStep, command: AppendWholeToolCall) -> Events:
    call = command.call
    same = step.calls.of_id(call.id) if call.id else None
    if same is not None:
        # Of a call that came in fragments only the name is known here. Handlers that stream a call and then deliver it
        # whole mean the same one.
        in_fragments = same.has_arguments and same.whole is None
        digest = fingerprint(call.arguments) if call.arguments else None
        if same.name == call.name and (in_fragments or same.whole == digest):
            return ()
        raise ToolCallConflictError(f"id: step {step.step_id} has another tool call {quoted(call.id)}")
    index = step.calls.next_index()
    fragment = AppendToolCall(
        at=command.at, step_id=step.step_id, index=index, id=call.id, name=call.name, arguments=call.arguments
    )
    return _tool_call_fragment(step, fragment)


def decide_step(state: Active, command: StepCommand) -> Events:
    """The events that begin or end a step, or answer a call. Raises a StepError or a ToolResultError."""
    match command:
        case BeginCompletion():
            return _begin(state, command)
        case EndCompletion(end):
            if end.step_id not in state.open_steps:
                raise StepClosedError(end.step_id)
            return (end,)
        case AddToolResult():
            return add_result(state, command)
        case _:
            assert_never(command)


def _begin(state: Active, command: BeginCompletion) -> Events:
    turn, latest, broken = state.in_hand, state.latest, ""
    if command.run:
        turn = owned(state, command.run)
        if turn.writer != command.writer:
            # Whoever takes the turn from the old writer would leave the step open, whose writer is alive.
            raise TurnClosedError(turn.turn_id, "has lost its lease")
        # The end of an answer that was lost in an outage may be stored all the same: the prompt does not have it.
        if command.known is not None and command.known != state.known:
            raise NewsError(turn.turn_id)
        # What the user has answered since has been read: it stays.
        is_same = latest is not None and latest.turn_id == turn.turn_id and not state.news
        broken = latest.step_id if latest is not None and is_same and latest.broke_off else ""
    check_alive(state, command)
    if command.over is not None and latest is not None and (latest.finished or latest.step_id != command.over):
        raise TurnInProgressError(latest.step_id, latest.since, latest.writer)
    started = CompletionStarted(
        at=command.at,
        step_id=command.step_id,
        model=command.model,
        writer=command.writer,
        lease_seconds=command.lease_seconds,
        turn_id=turn.turn_id if turn is not None and command.run else "",
        supersedes="" if command.continues else broken,
        continues=broken if command.continues else "",
    )
    is_lost = turn is not None and not command.run
    ended = (turn_ended(turn, command.at, "abandoned", ABANDONED),) if turn is not None and is_lost else ()
    return (*abandoned(state.open_steps.values(), command.at, ABANDONED), *ended, started)
