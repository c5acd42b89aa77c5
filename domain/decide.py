"""decide(state, command) -> events: the only place where a wish is allowed, refused, or found to be done already.

An empty tuple means that the command changes nothing: it was accepted before. Every refusal is a typed error.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from turnlog.domain.commands import (
    AbandonSteps,
    AddMessage,
    AddToolResult,
    AnyStepAppend,
    AppendFunctionCall,
    AppendReasoning,
    AppendRefusal,
    AppendText,
    AppendToolCall,
    AppendWholeToolCall,
    AssignOwner,
    BeginCompletion,
    CancelSteps,
    Command,
    CompactContext,
    DeleteSession,
    EndCompletion,
    ImportMessage,
    IncrementCounter,
    MarkFork,
    RepairSession,
    ReportUsage,
    SessionCommand,
    SetMetadata,
    SetTitle,
    StartSession,
    StepAppend,
    StepCommand,
    WithdrawRepair,
)
from turnlog.domain.errors import (
    InvalidInputError,
    SessionExistsError,
    SessionNotFoundError,
    SessionOwnedError,
    StepClosedError,
    ToolCallConflictError,
    ToolResultConflictError,
    TurnInProgressError,
    UnknownToolCallError,
)
from turnlog.domain.events import (
    CompletionAbandoned,
    CompletionInterrupted,
    CompletionStarted,
    ContextCompacted,
    CounterIncremented,
    FunctionCallDelta,
    MessageAdded,
    MessageImported,
    MetadataSet,
    OwnerAssigned,
    ReasoningDelta,
    RefusalDelta,
    RepairWithdrawn,
    SessionDeleted,
    SessionEvent,
    SessionForked,
    SessionRepaired,
    SessionStarted,
    SessionTitled,
    TextDelta,
    ToolCallArgumentsDelta,
    ToolCallNamed,
    ToolCallStarted,
    ToolResultAdded,
    UsageReported,
)
from turnlog.domain.evolve import answer_key, awaited_call, report_key
from turnlog.domain.state import Active, CallHead, OpenStep, SessionState, Unborn
from turnlog.domain.values import fingerprint

Events = tuple[SessionEvent, ...]
ABANDONED = "another completion was started"
FORKED = "the session was forked in the middle of it"


def decide(state: SessionState, command: Command) -> Events:
    """The events that carry out `command`; none if it was carried out before.

    Raises SessionNotFoundError where there is no session (any more), and the StepError, ToolResultError or session
    error that says why the command is refused.
    """
    if not isinstance(state, Active):
        if isinstance(command, StartSession):
            return _start(state, command)
        raise SessionNotFoundError(state.session_id)
    if isinstance(command, StepAppend):
        return _append(state, command)
    if isinstance(command, StartSession):
        return _start(state, command)
    if isinstance(command, StepCommand):
        return _decide_step(state, command)
    return _decide_session(state, command)


def _start(state: SessionState, command: StartSession) -> Events:
    if isinstance(state, Unborn):
        started = SessionStarted(at=command.at, user_id=command.user_id, title=command.title, metadata=command.metadata)
        return (started,)
    if isinstance(state, Active) and state.user_id == command.user_id:
        return ()
    raise SessionExistsError(f"session_id: {state.session_id} is taken")


def _append(state: Active, command: AnyStepAppend) -> Events:
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
        case _:
            assert_never(command)


def _tool_call_fragment(step: OpenStep, command: AppendToolCall) -> Events:
    at, step_id, index = command.at, command.step_id, command.index
    events: list[SessionEvent] = []
    head = step.calls.get(index)
    if head is None:
        events.append(ToolCallStarted(at=at, step_id=step_id, index=index, id=command.id, name=command.name))
    else:
        named_id, name = head.id or command.id, _continued_name(head, command.name)
        if (named_id, name) != (head.id, head.name):
            events.append(ToolCallNamed(at=at, step_id=step_id, index=index, id=named_id, name=name))
    if command.arguments:
        delta = ToolCallArgumentsDelta(at=at, step_id=step_id, index=index, arguments=command.arguments)
        events.append(delta)
    return tuple(events)


def _continued_name(head: CallHead, fragment: str) -> str:
    # Some providers repeat the name with every fragment, others cut it in pieces: it goes on only as long as no
    # arguments came, and never by what it already is.
    if not fragment or head.has_arguments or fragment == head.name:
        return head.name
    return head.name + fragment


def _whole_tool_call(step: OpenStep, command: AppendWholeToolCall) -> Events:
    call = command.call
    same = next((head for head in step.calls.values() if head.id == call.id), None) if call.id else None
    if same is not None:
        # Of a call that came in fragments only the name is known here: handlers that stream a call and then deliver
        # it whole mean the same one.
        in_fragments = same.has_arguments and same.whole is None
        digest = fingerprint(call.arguments) if call.arguments else None
        if same.name == call.name and (in_fragments or same.whole == digest):
            return ()
        raise ToolCallConflictError(f"id: step {step.step_id} has another tool call {call.id!r}")
    index = max(step.calls, default=-1) + 1
    fragment = AppendToolCall(
        at=command.at, step_id=step.step_id, index=index, id=call.id, name=call.name, arguments=call.arguments
    )
    return _tool_call_fragment(step, fragment)


def _decide_step(state: Active, command: StepCommand) -> Events:
    match command:
        case BeginCompletion():
            return _begin(state, command)
        case EndCompletion(end):
            if end.step_id not in state.open_steps:
                raise StepClosedError(end.step_id)
            return (end,)
        case CancelSteps(at, reason):
            return tuple(CompletionInterrupted(at=at, step_id=step_id, reason=reason) for step_id in state.open_steps)
        case AbandonSteps(at, writers, reason):
            return _abandoned((step for step in state.open_steps.values() if step.writer in writers), at, reason)
        case AddToolResult():
            return _add_result(state, command)
        case _:
            assert_never(command)


def _decide_session(state: Active, command: SessionCommand) -> Events:
    match command:
        case AddMessage():
            return _add_message(state, command)
        case SetTitle(at, title, only_if_empty):
            unchanged = title == state.title or (only_if_empty and bool(state.title))
            return () if unchanged else (SessionTitled(at=at, title=title),)
        case SetMetadata(at, patch):
            return (MetadataSet(at=at, patch=patch),) if patch else ()
        case IncrementCounter(at, id_, counter, key, by, known):
            incremented = CounterIncremented(at=at, id=id_, counter=counter, key=key, by=by)
            return () if known or report_key(incremented) in state.memory.reports else (incremented,)
        case ReportUsage(at, id_, usage, model, known):
            reported = UsageReported(at=at, id=id_, usage=usage, model=model)
            return () if known or report_key(reported) in state.memory.reports else (reported,)
        case AssignOwner(at, user_id):
            if state.user_id is not None:
                raise SessionOwnedError(f"session {state.session_id} has an owner")
            return (OwnerAssigned(at=at, user_id=user_id),)
        case ImportMessage(at, message_id, format_, message, known):
            if known or message_id in state.memory.message_ids:
                return ()
            return (MessageImported(at=at, message_id=message_id, format=format_, message=message),)
        case RepairSession(at, repair_id, upto, corrections):
            repaired = SessionRepaired(at=at, repair_id=repair_id, upto=upto, corrections=corrections)
            return (repaired,) if corrections and repair_id not in state.repairs else ()
        case WithdrawRepair(at, repair_id):
            return (RepairWithdrawn(at=at, repair_id=repair_id),) if repair_id in state.repairs else ()
        case CompactContext():
            return _compact(state, command)
        case MarkFork(at, source, upto):
            # Whoever writes them writes them there.
            abandoned = _abandoned(state.open_steps.values(), at, FORKED)
            return (SessionForked(at=at, source=source, upto=upto), *abandoned)
        case DeleteSession(at):
            return (SessionDeleted(at=at),)
        case _:
            assert_never(command)


def _compact(state: Active, command: CompactContext) -> Events:
    upto, summary = state.compacted
    if command.upto == upto and fingerprint(command.summary) == summary:
        return ()
    if command.upto < upto:
        raise InvalidInputError("upto", f"{command.upto} is before {upto}, up to which it was compacted already")
    return (ContextCompacted(at=command.at, summary=command.summary, upto=command.upto),)


def _add_message(state: Active, command: AddMessage) -> Events:
    if command.known or command.message_id in state.memory.message_ids:
        return ()
    added = MessageAdded(
        at=command.at,
        message_id=command.message_id,
        role=command.role,
        content=command.content,
        name=command.name,
        refusal=command.refusal,
        tool_calls=command.tool_calls,
        function_call=command.function_call,
    )
    return (added,)


def _begin(state: Active, command: BeginCompletion) -> Events:
    for step in state.open_steps.values():
        if _is_alive(step, command):
            raise TurnInProgressError(step.step_id, step.since, step.writer)
    latest = state.latest
    if command.over is not None and latest is not None and (latest.finished or latest.step_id != command.over):
        raise TurnInProgressError(latest.step_id, latest.since, latest.writer)
    started = CompletionStarted(
        at=command.at,
        step_id=command.step_id,
        model=command.model,
        writer=command.writer,
        lease_seconds=command.lease_seconds,
    )
    return (*_abandoned(state.open_steps.values(), command.at, ABANDONED), started)


def _is_alive(step: OpenStep, command: BeginCompletion) -> bool:
    if step.writer in ("", command.writer):
        return step.step_id in command.live
    return step.writer not in command.gone


def _abandoned(steps: Iterable[OpenStep], at: datetime, reason: str) -> Events:
    return tuple(CompletionAbandoned(at=at, step_id=step.step_id, reason=reason) for step in steps)


def _add_result(state: Active, command: AddToolResult) -> Events:
    call = awaited_call(state.awaited, command.call_id, command.step_id)
    if call is None:
        return _repeated_result(state, command)
    if command.status == "pending" and call.pending == fingerprint(command.content):
        return ()
    result = ToolResultAdded(
        at=command.at,
        step_id=call.step_id,
        index=call.index,
        call_id=command.call_id,
        status=command.status,
        content=command.content,
    )
    return (result,)


def _repeated_result(state: Active, command: AddToolResult) -> Events:
    answered = state.memory.answered.get(answer_key(command.call_id, command.step_id), command.answered)
    if answered is None:
        raise UnknownToolCallError(command.call_id)
    # A pending result that arrives after the final one was only late: the final one stands.
    if command.status == "pending" or fingerprint(command.status, command.content) == answered:
        return ()
    raise ToolResultConflictError(command.call_id)
