"""What the events of a turn with an owner change for later decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from turnlog.domain.calls import AwaitedCall
from turnlog.domain.events import (
    ApprovalDecided,
    ApprovalRequested,
    ToolStarted,
    TurnEnded,
    TurnEvent,
    TurnStarted,
)
from turnlog.domain.state import Active, LatestTurn


def evolve_turn(state: Active, event: TurnEvent) -> Active:
    """The state after `event`."""
    match event:
        case TurnStarted():
            return _started(state, event)
        case TurnEnded():
            return _ended(state, event)
        case ToolStarted(run=run, attempt=attempt):
            call = state.awaited.get(event.step_id, event.index)
            return state if call is None else _with(state, replace(call, run=run, attempts=attempt))
        case ApprovalRequested():
            call = state.awaited.get(event.step_id, event.index)
            return state if call is None else _with(state, replace(call, approval="requested"))
        case ApprovalDecided(approved=approved):
            call = state.awaited.get(event.step_id, event.index)
            return state if call is None or not approved else _with(state, replace(call, approval="approved"))
        case _:
            assert_never(event)


def _started(state: Active, event: TurnStarted) -> Active:
    is_queued, before = event.turn_id in state.queue, state.turn
    if before is not None and before.turn_id == event.turn_id:
        has_begun = before.has_begun
    else:
        # A turn that answers no message goes on with the steps that had no owner.
        has_begun = before is None and not (is_queued or state.asked)
    turn = LatestTurn(turn_id=event.turn_id, run=event.run, writer=event.writer, since=event.at, has_begun=has_begun)
    queue = tuple(turn_id for turn_id in state.queue if turn_id != event.turn_id)
    news = state.news + is_queued
    return state.model_copy(update={"turn": turn, "queue": queue, "asked": None, "news": news})


def _ended(state: Active, event: TurnEnded) -> Active:
    turn = state.turn
    if turn is not None and turn.run == event.run:
        # Of a turn that was stopped, or has failed, nothing is left to be answered unless somebody wants it.
        news = 0 if event.status in ("stopped", "failed") else state.news
        turn = turn.model_copy(update={"status": event.status})
        return state.model_copy(update={"turn": turn, "news": news, "results": 0})
    return state.model_copy(update={"queue": tuple(turn_id for turn_id in state.queue if turn_id != event.turn_id)})


def _with(state: Active, call: AwaitedCall) -> Active:
    return state.model_copy(update={"awaited": state.awaited.plus(call)})
