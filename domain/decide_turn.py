"""The decisions about a turn with an owner: who begins it, how it ends, which tools run, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from turnlog.domain.commands import (
    AbandonSteps,
    BeginCompletion,
    BeginTurn,
    CancelSteps,
    DecideApproval,
    EndTurn,
    RequestApproval,
    StartTool,
    TurnCommand,
)
from turnlog.domain.decide_result import repeated_result, result_added
from turnlog.domain.errors import (
    ToolResultConflictError,
    TurnClosedError,
    TurnInProgressError,
    TurnlogError,
    UnknownToolCallError,
)
from turnlog.domain.events import (
    ApprovalDecided,
    ApprovalRequested,
    CompletionAbandoned,
    CompletionInterrupted,
    SessionEvent,
    ToolStarted,
    TurnEnd,
    TurnEnded,
    TurnStarted,
)
from turnlog.domain.evolve import awaited_call
from turnlog.domain.state import Active, LatestTurn, OpenStep
from turnlog.domain.turns import has_news, may_go_on, next_turn

Events = tuple[SessionEvent, ...]

ABANDONED = "another completion was started"
OVERTAKEN = "somebody else has gone on with the turn"


class NewsError(TurnlogError):
    """Something has come that the request does not have. Callers never see this: whoever owns the turn asks again."""


def decide_turn(state: Active, command: TurnCommand) -> Events:
    """The events that begin or end a turn, start a tool, or decide about a call. Raises a StepError or a
    ToolResultError."""
    match command:
        case BeginTurn():
            return begin_turn(state, command)
        case EndTurn(run=run):
            return _end(state, owned(state, run), command)
        case StartTool():
            return _start_tool(state, command)
        case RequestApproval(at, run, step_id, index):
            owned(state, run)
            call = state.awaited.get(step_id, index)
            if call is None or call.approval:
                return ()
            return (ApprovalRequested(at=at, step_id=step_id, index=index, call_id=call.call_id, run=run),)
        case DecideApproval():
            return _decide_approval(state, command)
        case CancelSteps():
            return _cancel(state, command)
        case AbandonSteps(at, writers, reason):
            steps = [step for step in state.open_steps.values() if step.writer in writers]
            turn = state.in_hand
            is_lost = turn is not None and turn.writer in writers
            ended = (turn_ended(turn, at, "abandoned", reason),) if turn is not None and is_lost else ()
            return (*abandoned(steps, at, reason), *ended)
        case _:
            assert_never(command)


def owned(state: Active, run: str) -> LatestTurn:
    """The turn in hand, if this is its run. Raises TurnClosedError."""
    turn = state.turn
    if turn is not None and turn.run == run:
        if turn.status is None:
            return turn
        raise TurnClosedError(turn.turn_id, f"has ended: {turn.status}")
    raise TurnClosedError(turn.turn_id if turn is not None else run, "is somebody else's by now")


def check_alive(state: Active, command: BeginCompletion | BeginTurn) -> None:
    """Raises TurnInProgressError while a step is open, or a turn in hand, that is alive."""
    turn = state.in_hand
    if turn is not None and turn.run != command.run and _is_alive(turn.writer, turn.run, command):
        raise TurnInProgressError(turn.run, turn.since, turn.writer, turn_id=turn.turn_id)
    for step in state.open_steps.values():
        if _is_alive(step.writer, step.step_id, command):
            raise TurnInProgressError(step.step_id, step.since, step.writer)


def _is_alive(writer: str, held: str, command: BeginCompletion | BeginTurn) -> bool:
    if writer in ("", command.writer):
        return held in command.live
    return writer not in command.gone


def begin_turn(state: Active, command: BeginTurn) -> Events:
    """The events with which a turn begins, or goes on. Raises TurnInProgressError and TurnClosedError."""
    turn, wanted, next_id = state.turn, command.turn_id, next_turn(state)
    if turn is not None and turn.run == command.run:
        return ()
    check_alive(state, command)
    if wanted not in (None, next_id):
        if turn is None or turn.turn_id != wanted:
            raise TurnClosedError(wanted or "", "is not the one to be answered now")
        if not may_go_on(state, turn):
            raise TurnClosedError(turn.turn_id, f"has ended: {turn.status}")
    turn_id = wanted or next_id or command.run
    if wanted is next_id is None and not (command.anyway or has_news(state)):
        raise TurnClosedError(turn_id, "has nothing to answer")
    started = TurnStarted(
        at=command.at,
        turn_id=turn_id,
        run=command.run,
        writer=command.writer,
        lease_seconds=command.lease_seconds,
    )
    return (*abandoned(state.open_steps.values(), command.at, OVERTAKEN), started)


def _end(state: Active, turn: LatestTurn, command: EndTurn) -> Events:
    # A step is open where the end of its answer was lost in an outage: then the message has no answer.
    if command.known is not None and (command.known != state.known or state.open_steps):
        raise NewsError(turn.turn_id)
    reason = command.reason or command.status
    return (*_interrupted(state, command.at, reason), turn_ended(turn, command.at, command.status, command.reason))


def _interrupted(state: Active, at: datetime, reason: str) -> Events:
    return tuple(CompletionInterrupted(at=at, step_id=step_id, reason=reason) for step_id in state.open_steps)


def abandoned(steps: Iterable[OpenStep], at: datetime, reason: str) -> Events:
    """The events that end these steps as abandoned."""
    return tuple(CompletionAbandoned(at=at, step_id=step.step_id, reason=reason) for step in steps)


def turn_ended(turn: LatestTurn, at: datetime, status: TurnEnd, reason: str) -> TurnEnded:
    """The end of the latest run of a turn."""
    return TurnEnded(at=at, turn_id=turn.turn_id, run=turn.run, status=status, reason=reason)


def turns_left(state: Active, at: datetime, reason: str) -> Events:
    """The ends of all turns with which somebody would go on unasked. The latest has failed, so that it can be begun
    again; those in the queue are stopped."""
    turn = state.turn
    goes_on = state.unfinished is not None or (turn is not None and _has_more(state, turn))
    ended = (turn_ended(turn, at, "failed", reason),) if turn is not None and goes_on else ()
    return (*ended, *(_stopped(turn_id, at, reason) for turn_id in state.queue))


def _stopped(turn_id: str, at: datetime, reason: str) -> TurnEnded:
    """The end of a turn in the queue."""
    return TurnEnded(at=at, turn_id=turn_id, run="", status="stopped", reason=reason)


def _start_tool(state: Active, command: StartTool) -> Events:
    owned(state, command.run)
    call = state.awaited.get(command.step_id, command.index)
    if call is None or call.run == command.run:
        return ()
    started = ToolStarted(
        at=command.at,
        step_id=call.step_id,
        index=call.index,
        call_id=call.call_id,
        run=command.run,
        attempt=call.attempts + 1,
    )
    return (started,)


def _decide_approval(state: Active, command: DecideApproval) -> Events:
    call = awaited_call(state.awaited, command.call_id, command.step_id)
    if call is None:
        return repeated_result(state, command.call_id, command.step_id, "error", command.refusal)
    if not call.approval:
        raise UnknownToolCallError(command.call_id)
    if call.approval == "approved":
        if command.approved:
            return ()
        raise ToolResultConflictError(command.call_id)
    decided = ApprovalDecided(
        at=command.at,
        step_id=call.step_id,
        index=call.index,
        call_id=call.call_id,
        approved=command.approved,
        by=command.by,
        reason=command.reason,
        for_turn=command.for_turn,
    )
    return (
        (decided,) if command.approved else (decided, result_added(state, call, command.at, "error", command.refusal))
    )


def _cancel(state: Active, command: CancelSteps) -> Events:
    at, reason, wanted = command.at, command.reason, command.turn_id
    turn, in_hand = state.turn, state.in_hand
    if in_hand is not None and wanted in (None, in_hand.turn_id):
        return (*_interrupted(state, at, reason), turn_ended(in_hand, at, "stopped", reason))
    if state.open_steps and wanted is None:
        return _interrupted(state, at, reason)
    if turn is not None and wanted in (None, turn.turn_id) and _could_go_on(state, turn):
        return (turn_ended(turn, at, "stopped", reason),)
    queued = next((turn_id for turn_id in state.queue if wanted in (None, turn_id)), None)
    return () if queued is None else (_stopped(queued, at, reason),)


def _could_go_on(state: Active, turn: LatestTurn) -> bool:
    is_unfinished = turn.status == "abandoned" or (turn.status == "waiting" and state.is_waiting)
    return (state.asked is None and is_unfinished) or _has_more(state, turn)


def _has_more(state: Active, turn: LatestTurn) -> bool:
    """Whether something has come for the latest turn, which was over."""
    return state.asked is None and turn.status in ("waiting", "finished") and has_news(state)
