"""What a state says about its turns: whose turn it is to be answered, and how far the latest one is."""

from __future__ import annotations

from typing import Literal

from turnlog.domain.state import Active, LatestStep, LatestTurn

TurnStatus = Literal[
    "open",
    "queued",
    "answering",
    "running_tools",
    "waiting",
    "finished",
    "interrupted",
    "stopped",
    "failed",
    "abandoned",
]
"""How far a turn is. With an owner:

* `queued`: nobody has begun to answer, or there is news that no request has had
* `answering`, `running_tools`: it is in hand
* `waiting`: for a pending result, or for a decision about a call
* `finished`, `stopped`, `failed`, `abandoned`: it has ended

Without one it is `open`, or as its last step ended."""
RESUMABLE: tuple[TurnStatus, ...] = ("queued", "answering", "running_tools", "abandoned")
"""The statuses of turns with an owner that anybody can go on with, unless its owner is alive."""
UNFINISHED: tuple[TurnStatus, ...] = ("queued", "answering", "running_tools", "waiting", "abandoned")
"""The statuses of turns with an owner that somebody has to go on with, now or later."""


def next_turn(state: Active) -> str | None:
    """The id of the turn whose turn it is: the one in hand, or the one that was abandoned, or what was asked since, or
    the first in the queue, or the latest one if there is news for it. None if there is nothing to do, or if the news is
    for a turn that has had no owner yet."""
    turn = state.turn
    if state.unfinished is not None:
        return state.unfinished.turn_id
    if state.asked is not None:
        return state.asked
    if state.queue:
        return state.queue[0]
    return turn.turn_id if turn is not None and has_news(state) else None


def has_news(state: Active) -> bool:
    """Whether there is something that no request has had yet, or that the owner of a turn has to run."""
    return state.unread > 0


def joined_turn(state: Active) -> str | None:
    """The id of the turn to which a message of the user goes: the one in hand, the one that was abandoned, or the
    latest one if it has to be gone on with anyhow. None: a turn begins with it."""
    turn = state.turn
    if turn is None or turn.status in ("stopped", "failed") or next_turn(state) != turn.turn_id:
        return None
    return turn.turn_id


def has_gone_on(state: Active, step_id: str, index: int) -> bool:
    """Whether the model has gone on without the final result of this call."""
    call = state.awaited.get(step_id, index)
    return call is not None and state.responses > call.response


def may_go_on(state: Active, turn: LatestTurn) -> bool:
    """Whether somebody may go on with the latest turn, which has ended: it was not finished, or there is news."""
    return state.asked is None and (turn.status in ("failed", "abandoned", "waiting") or has_news(state))


def turn_status(state: Active) -> TurnStatus | None:
    """The status of the latest turn that has begun, or else of what is waiting to begin; None where the state does not
    tell, as after an import."""
    latest, turn = state.latest, state.turn
    calls_are_open = latest is not None and latest.finished and _has_open_calls(state, latest)
    if state.in_hand is not None:
        runs_tools = calls_are_open and state.in_hand.has_begun
        return "running_tools" if runs_tools else "answering"
    if state.queue:
        return "queued"
    if state.open_steps or state.asked is not None:
        return "open"
    if turn is not None:
        return ended_status(turn, news=has_news(state), waits=state.is_waiting)
    if calls_are_open:
        return "open"
    return None if latest is None else latest.status


def _has_open_calls(state: Active, latest: LatestStep) -> bool:
    # What is cut off is the last call. The state does not hold its arguments: if they came to their end by chance, the
    # view shows one open call more.
    return (state.awaited.unanswered.get(latest.step_id) or 0) > latest.cut_off


def unfinished_turn(state: Active) -> str | None:
    """The id of the turn with an owner that somebody has to go on with, now or later. None if there is none."""
    if state.turn is None or turn_status(state) not in UNFINISHED:
        return None
    return next_turn(state) or state.turn.turn_id


def ended_status(turn: LatestTurn, *, news: bool, waits: bool) -> TurnStatus:
    """The status of a turn whose last run has ended."""
    status = turn.status or "answering"
    if status not in ("finished", "waiting"):
        return status
    if news:
        return "queued"
    return "waiting" if status == "waiting" and waits else "finished"
