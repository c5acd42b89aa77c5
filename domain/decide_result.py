"""The decisions about the result of a call."""

from __future__ import annotations

from datetime import datetime

from turnlog.domain.calls import AwaitedCall
from turnlog.domain.commands import AddToolResult
from turnlog.domain.errors import ToolResultConflictError, ToolRunningError, TurnClosedError, UnknownToolCallError
from turnlog.domain.events import Content, ResultStatus, SessionEvent, ToolResultAdded
from turnlog.domain.evolve import answer_key, awaited_call
from turnlog.domain.state import Active
from turnlog.domain.values import fingerprint

Events = tuple[SessionEvent, ...]


def add_result(state: Active, command: AddToolResult) -> Events:
    """The result of a call; none if it has this one already. Raises a ToolResultError and TurnClosedError."""
    _check_owner(state, command.run)
    if command.step_id is not None and command.index is not None:
        call = state.awaited.get(command.step_id, command.index)
    else:
        call = awaited_call(state.awaited, command.call_id, command.step_id)
    if call is None:
        return repeated_result(
            state, command.call_id, command.step_id, command.status, command.content, command.answered
        )
    in_hand = state.in_hand
    if not command.run and call.pending is None and in_hand is not None and call.run == in_hand.run:
        raise ToolRunningError(call.call_id)
    if command.status == "pending" and call.pending == fingerprint(command.content):
        return ()
    return (result_added(state, call, command.at, command.status, command.content),)


def _check_owner(state: Active, run: str) -> None:
    turn = state.turn
    if run and (turn is None or turn.run != run or turn.status is not None):
        raise TurnClosedError(turn.turn_id if turn is not None else run, "has ended, or is somebody else's by now")


def result_added(
    state: Active, call: AwaitedCall, at: datetime, status: ResultStatus, content: Content
) -> ToolResultAdded:
    """The event of a result."""
    return ToolResultAdded(
        at=at,
        step_id=call.step_id,
        index=call.index,
        call_id=call.call_id,
        status=status,
        content=content,
        late=state.responses > call.response,
    )


def repeated_result(
    state: Active,
    call_id: str,
    step_id: str | None,
    status: ResultStatus,
    content: Content,
    answered: str | None = None,
) -> Events:
    """No event, for a result that the call has already. `answered` is the fingerprint that the store has. Raises
    UnknownToolCallError and ToolResultConflictError."""
    answered = state.memory.answered.get(answer_key(call_id, step_id), answered)
    if answered is None:
        raise UnknownToolCallError(call_id)
    # A pending result that arrives after the final one is only late: the final one stands.
    if status == "pending" or fingerprint(status, content) == answered:
        return ()
    raise ToolResultConflictError(call_id)
