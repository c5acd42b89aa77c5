"""Recording processes are killed at random moments: nothing that they have shown is lost or doubled, every turn ends,
and every conversation goes on."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import pytest

from tests.support import programs
from tests.support.processes import Child
from tests.support.rules import check_prompts
from tests.support.sessions import assert_conversation_goes_on, checked_prompt, contents, only_step, stored_events
from turnlog import SYSTEM, Session, SessionLog, SessionView, Settings, Step
from turnlog.domain.events import TextDelta

BRIEF_LEASE = 0.5


async def shown_by_a_process_that_is_killed(settings: Settings, session_id: UUID, after: int) -> list[str]:
    """Records in a process of its own, kills it after it has shown some deltas, and returns all that it has shown."""
    brief = settings.model_copy(update={"lease_seconds": BRIEF_LEASE})
    with Child(programs.record, brief, session_id, 0.0005) as recorder:
        shown = [await recorder.hear() for _ in range(after)]
        recorder.kill()
        return shown + await recorder.rest()


async def test_a_killed_process_loses_nothing_that_it_has_shown(session: Session, settings: Settings) -> None:
    await session.say("Count.")
    shown = await shown_by_a_process_that_is_killed(settings, session.id, 50)
    assert shown[:3] == ["0 ", "1 ", "2 "]
    events: list[Any] = [recorded.event for recorded in await stored_events(session)]
    deltas = [event.text for event in events if event.topic == "text-delta.v1"]
    assert deltas[: len(shown)] == shown
    step = only_step(await session.view())
    assert (step.status, step.message.content) == ("open", "".join(deltas))
    await asyncio.sleep(BRIEF_LEASE)
    await assert_conversation_goes_on(session)
    assert (await session.view()).turns[0].steps[0].status == "abandoned"
    assert (await session.view()).messages[1]["content"] == "".join(deltas)


async def test_the_step_of_a_killed_process_can_be_taken_over_after_its_lease(
    session: Session, settings: Settings
) -> None:
    await session.say("Count.")
    await shown_by_a_process_that_is_killed(settings, session.id, 5)
    async with asyncio.timeout(5.0):
        async with session.completion(takeover=True) as completion:
            await completion.text("I count again.")
            await completion.finish("stop")
    steps = (await session.view()).turns[0].steps
    assert [step.status for step in steps] == ["abandoned", "finished"]
    assert contents(await checked_prompt(session)) == ["Count.", "I count again."]


# Many of them


AT_ONCE = 5
SESSIONS_EACH = 2
LEASE_SECONDS = 1.0
Heard = tuple[str, UUID, Any]


@pytest.mark.parametrize("kills", [50, pytest.param(1000, marks=pytest.mark.long)])
async def test_processes_that_are_killed_lose_and_double_nothing(
    log: SessionLog, settings: Settings, kills: int
) -> None:
    brief = settings.model_copy(update={"lease_seconds": LEASE_SECONDS})
    heard: dict[UUID, list[Heard]] = {}
    for number in _batches(kills):
        heard |= await _killed(log, brief, number)
    await asyncio.sleep(LEASE_SECONDS)
    await log.reap()
    abandoned = 0
    for session_id, acknowledged in heard.items():
        abandoned += await _check(log.session(session_id, SYSTEM), acknowledged)
    assert sum(map(len, heard.values())) > 10 * kills, "the processes were killed before they did anything"
    assert abandoned > kills / 2, "hardly any was killed while it recorded"


def _batches(kills: int) -> Iterator[int]:
    for first in range(0, kills, AT_ONCE):
        yield min(AT_ONCE, kills - first)


async def _killed(log: SessionLog, settings: Settings, number: int) -> dict[UUID, list[Heard]]:
    """What so many processes had acknowledged, by session, when they were dead."""
    ids = [[(await log.start_session("u1")).id for _ in range(SESSIONS_EACH)] for _ in range(number)]
    with ExitStack() as stack:
        children = [stack.enter_context(Child(programs.record_for_ever, settings, each)) for each in ids]
        heard = await asyncio.gather(*(_heard_until_killed(child) for child in children))
    by_session: dict[UUID, list[Heard]] = {session_id: [] for each in ids for session_id in each}
    for what, session_id, value in (one for each in heard for one in each):
        if session_id is not None:
            by_session[session_id].append((what, session_id, value))
    return by_session


async def _heard_until_killed(child: Child) -> list[Heard]:
    # Mostly in the middle of recording, which begins late on a busy machine; some while the log is being opened.
    is_early = random.random() < 1 / 4
    heard = [] if is_early else [await child.hear() for _ in range(random.randrange(1, 4))]
    listening = asyncio.create_task(child.rest())
    await asyncio.sleep(random.random() * (0.3 if is_early else 0.5))
    child.kill()
    return heard + await listening


async def _check(session: Session, acknowledged: Iterable[Heard]) -> int:
    """Looks at all that there is of the session, and goes on with it. The number of its abandoned steps."""
    view = await session.view()
    steps = {step.step_id: step for turn in view.turns for step in turn.steps}
    _check_acknowledged(view, steps, acknowledged)
    for step in steps.values():
        count = len(str(step.message.content or "").split())
        assert (step.message.content or "") == "".join(f"{number} " for number in range(count))
        assert step.status in ("finished", "abandoned")
    events = [event async for event in session.events()]
    assert [event.position for event in events] == list(range(1, view.version + 1))
    assert len([event for event in events if isinstance(event.event, TextDelta)]) == sum(
        len(str(step.message.content or "").split()) for step in steps.values()
    )
    assert view.faults == ()
    check_prompts(view)
    await _goes_on(session)
    return sum(1 for step in steps.values() if step.status == "abandoned")


def _check_acknowledged(view: SessionView, steps: dict[str, Step], acknowledged: Iterable[Heard]) -> None:
    shown: dict[str, str] = defaultdict(str)
    messages = {message.message_id for turn in view.turns for message in turn.messages}
    for what, _, value in acknowledged:
        if what == "said":
            assert value in messages
        elif what == "answered":
            assert [result.status for result in steps[value].tool_results] == ["final"]
        else:
            step_id, content = value
            shown[step_id] += content
    for step_id, text in shown.items():
        assert str(steps[step_id].message.content).startswith(text)


async def _goes_on(session: Session) -> None:
    await session.say("Go on.")
    async with session.completion() as completion:
        await completion.text("I go on.")
        await completion.finish("stop")
    view = await session.view()
    check_prompts(view)
    assert view.turns[-1].status == "finished"
    assert view.turns[-1].messages[-1].content == "Go on."
