"""The harness sees a broken turn: one that was answered twice, that was left, or that two have had in hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.chaos.talks import Till, tools
from tests.chaos.turns import faults_of_turns
from turnlog import RecordedEvent, SessionLog
from turnlog.domain import events as e

pytestmark = pytest.mark.servers

Events = list[e.SessionEvent]


def last_step(events: Events) -> str:
    return [event.step_id for event in events if isinstance(event, e.CompletionStarted)][-1]


def of_step(events: Events, step_id: str) -> Events:
    return [event for event in events if getattr(event, "step_id", None) == step_id]


def answered_again(events: Events) -> Events:
    """The last response, once more, in the same run."""
    again = [event.model_copy(update={"step_id": "again"}) for event in of_step(events, last_step(events))]
    return [*events[:-1], *again, events[-1]]


def without(*kinds: Any) -> Callable[[Events], Events]:
    return lambda events: [event for event in events if not isinstance(event, kinds)]


def not_answered(events: Events) -> Events:
    steps = {event.step_id for event in events if isinstance(event, e.CompletionStarted)}
    return [event for event in events if getattr(event, "step_id", None) not in steps]


def taken_over(events: Events) -> Events:
    """Another one begins the turn, and the first one goes on nevertheless."""
    at = next(at for at, event in enumerate(events) if getattr(event, "step_id", None) == last_step(events))
    begun = next(event for event in events if isinstance(event, e.TurnStarted))
    return [*events[:at], begun.model_copy(update={"run": "another", "writer": "w"}), *events[at:]]


def failed(events: Events) -> Events:
    return [*events[:-1], events[-1].model_copy(update={"status": "failed"})]


BROKEN: dict[str, tuple[Callable[[Events], Events], str]] = {
    "answered twice": (answered_again, "a message is answered twice"),
    "left open": (without(e.TurnEnded), "something is left"),
    "the calls have no results": (without(e.ToolResultAdded), "the model is asked while calls have no result"),
    "not answered": (not_answered, "is not answered"),
    "two owners": (taken_over, "a run ends that nobody has in hand"),
    "two requests": (without(e.CompletionFinished), "two requests at the same time"),
    "no owner": (without(e.TurnStarted), "which nobody has in hand"),
    "failed for no reason": (failed, "nothing says why"),
    "nothing": (lambda events: events, ""),
}
"""What becomes of the events, and what is found then."""


def recorded(like: Sequence[RecordedEvent], events: Events) -> list[RecordedEvent]:
    """These events in the place of others."""
    return [like[0]._replace(position=at, log_position=at, event=event) for at, event in enumerate(events, 1)]


async def test_a_turn_that_is_broken_is_found(log: SessionLog) -> None:
    till, session = Till(), await log.start_session("u1")
    async with till.client() as client:
        await session.answer(client, model=session.id.hex, message="[m] tools", message_id="m", tools=tools())
    history = [event async for event in session.events()]
    events, paid = [one.event for one in history], till.paid(session.id)
    till.close()

    assert paid == 2
    for name, (change, expected) in BROKEN.items():
        found = faults_of_turns(session.id, recorded(history, change(events)), None)
        assert expected in str(found), name
        assert bool(found) == bool(expected), name
    assert faults_of_turns(session.id, history, paid) == []
    assert "were paid for" in str(faults_of_turns(session.id, history, paid + 1))
