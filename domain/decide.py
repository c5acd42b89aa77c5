"""decide(state, command) -> events: where a command is allowed, refused, or found to be done already.

An empty tuple means that the command changes nothing, because it was accepted before. Every refusal is a typed error.
The decisions about steps are in `decide_step`, those about turns in `decide_turn`.
"""

from __future__ import annotations

from typing import assert_never

from turnlog.domain.commands import (
    AddMessage,
    AssignOwner,
    CancelSteps,
    Command,
    CompactContext,
    DeleteSession,
    ImportMessage,
    IncrementCounter,
    MarkFork,
    RepairSession,
    ReportUsage,
    SessionCommand,
    SetMetadata,
    SetTitle,
    StartSession,
    StepCommand,
    TurnCommand,
    WithdrawRepair,
)
from turnlog.domain.decide_step import Events, decide_append, decide_step
from turnlog.domain.decide_turn import abandoned, begin_turn, decide_turn, turns_left
from turnlog.domain.errors import (
    InvalidInputError,
    LimitExceededError,
    SessionExistsError,
    SessionNotFoundError,
    SessionOwnedError,
    TurnInProgressError,
    TurnlogError,
)
from turnlog.domain.events import (
    ContextCompacted,
    CounterIncremented,
    MessageAdded,
    MessageImported,
    MetadataSet,
    OwnerAssigned,
    RepairWithdrawn,
    SessionDeleted,
    SessionForked,
    SessionRepaired,
    SessionStarted,
    SessionTitled,
    UsageReported,
)
from turnlog.domain.evolve import evolve, report_key
from turnlog.domain.inputs import checked_metadata
from turnlog.domain.limits import MAX_COUNTERS
from turnlog.domain.state import Active, SessionState, Unborn
from turnlog.domain.step_appends import StepAppend
from turnlog.domain.values import fingerprint, merge_patch

FORKED = "the session was forked in the middle of it"


class MessageTakenError(TurnlogError):
    """A message that was to be imported as a new one is there: another import has come first. Callers never see this.
    Whether it is the same message is for the import to look at."""


def decide(state: SessionState, command: Command) -> Events:
    """The events that carry out `command`; none if it was carried out before.

    Raises SessionNotFoundError if the session was not started or is deleted, and otherwise the StepError,
    ToolResultError or session error that says why the command is refused.
    """
    if not isinstance(state, Active):
        if isinstance(command, StartSession):
            return _start(state, command)
        raise SessionNotFoundError(state.session_id)
    if isinstance(command, StepAppend):
        return decide_append(state, command)
    if isinstance(command, StartSession):
        return _start(state, command)
    if isinstance(command, StepCommand):
        return decide_step(state, command)
    if isinstance(command, TurnCommand):
        return decide_turn(state, command)
    return _decide_session(state, command)


def _start(state: SessionState, command: StartSession) -> Events:
    if isinstance(state, Unborn):
        started = SessionStarted(at=command.at, user_id=command.user_id, title=command.title, metadata=command.metadata)
        return (started,)
    if isinstance(state, Active) and state.user_id == command.user_id:
        return ()
    raise SessionExistsError(f"session_id: {state.session_id} is taken")


def _decide_session(state: Active, command: SessionCommand) -> Events:
    match command:
        case AddMessage():
            return _add_message(state, command)
        case SetTitle(at, title, only_if_empty):
            unchanged = title == state.title or (only_if_empty and bool(state.title))
            return () if unchanged else (SessionTitled(at=at, title=title),)
        case SetMetadata(at, patch):
            checked_metadata(merge_patch(state.metadata, patch), state.metadata)
            return (MetadataSet(at=at, patch=patch),) if patch else ()
        case IncrementCounter():
            return _increment(state, command)
        case ReportUsage(at, id_, usage, model, known):
            reported = UsageReported(at=at, id=id_, usage=usage, model=model)
            return () if known or report_key(reported) in state.memory.reports else (reported,)
        case AssignOwner(at, user_id):
            if state.user_id is not None:
                raise SessionOwnedError(f"session {state.session_id} has an owner")
            return (OwnerAssigned(at=at, user_id=user_id),)
        case ImportMessage(at, message_id, format_, message, known):
            if known or message_id in state.memory.message_ids:
                raise MessageTakenError(message_id)
            return (MessageImported(at=at, message_id=message_id, format=format_, message=message),)
        case RepairSession(at, repair_id, upto, corrections):
            repaired = SessionRepaired(at=at, repair_id=repair_id, upto=upto, corrections=corrections)
            return (repaired,) if corrections and repair_id not in state.repairs else ()
        case WithdrawRepair(at, repair_id):
            return (RepairWithdrawn(at=at, repair_id=repair_id),) if repair_id in state.repairs else ()
        case CompactContext():
            return _compact(state, command)
        case MarkFork(at, source, upto):
            # Whoever writes the open steps, and owns the turn, does so in the source.
            forked = SessionForked(at=at, source=source, upto=upto)
            return (forked, *abandoned(state.open_steps.values(), at, FORKED), *turns_left(state, at, FORKED))
        case DeleteSession(at):
            return (SessionDeleted(at=at),)
        case _:
            assert_never(command)


def _increment(state: Active, command: IncrementCounter) -> Events:
    counter, key = command.counter, command.key
    incremented = CounterIncremented(at=command.at, id=command.id, counter=counter, key=key, by=command.by)
    if command.known or report_key(incremented) in state.memory.reports:
        return ()
    if len(state.counters) >= MAX_COUNTERS and state.counters.get((counter, key)) is None:
        raise LimitExceededError("key", f"the session has {MAX_COUNTERS:,} counters already", MAX_COUNTERS)
    return (incremented,)


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
    stopped = () if command.stops is None else decide_turn(state, CancelSteps(command.at, command.stops))
    after = _after(state, stopped)
    added = MessageAdded(
        at=command.at,
        message_id=command.message_id,
        role=command.role,
        content=command.content,
        name=command.name,
        refusal=command.refusal,
        tool_calls=command.tool_calls,
        function_call=command.function_call,
        queued=command.queue and command.role == "user" and (after.unfinished is not None or bool(after.queue)),
    )
    return (*stopped, added, *_begun(_after(after, (added,)), command))


def _begun(state: Active, command: AddMessage) -> Events:
    if command.begin is None:
        return ()
    try:
        return begin_turn(state, command.begin)
    except TurnInProgressError:
        if not command.joins:
            raise
        return ()


def _after(state: Active, events: Events) -> Active:
    for event in events:
        evolved = evolve(state, event)
        state = evolved if isinstance(evolved, Active) else state
    return state
