"""Stopping a turn: in whichever state it is, from any process, once, and no further request is made."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest

from tests.support import programs
from tests.support.answering import Gate, asking, calling, said, slow, statuses, told, turns_of, until
from tests.support.processes import Child
from turnlog import Pending, Session, SessionLog, Settings, Tool, ToolContext
from turnlog.testing import Answer

A_SECOND = 1.5


@pytest.fixture(params=["one log", "two logs", "no redis"])
async def elsewhere(request: pytest.FixtureRequest, session: Session, settings: Settings) -> Any:
    """The session as whoever stops it has it: of the same process, or of another, or of one that says nothing."""
    if request.param == "one log":
        yield session
        return
    places = settings if request.param == "two logs" else settings.model_copy(update={"redis_url": "none"})
    async with SessionLog.open(places) as log:
        yield log.session(session.id, "u1")


async def test_in_mid_stream(session: Session, elsewhere: Session) -> None:
    async with asking([slow(delay=0.2)]) as model:
        answer = model.answer(session, "Hi")
        shown = ""
        async for delta in answer:
            if delta.kind == "text":
                shown += delta.text
                break
        assert await elsewhere.cancel("enough")
        async with asyncio.timeout(A_SECOND):
            outcome = await answer
            await until(lambda: model.provider.disconnects)
        assert (outcome.status, outcome.reason) == ("stopped", "enough")
        assert outcome.text.startswith(shown)
        assert not await elsewhere.cancel("enough")
        assert (await told(session.deltas(until_turn_ends=True)))[-1].kind == "turn_ended"
        assert model.asked == 1
    assert said(await session.prompt()) == [("user", "Hi"), ("assistant", outcome.text)]


async def test_while_tools_run(session: Session, elsewhere: Session) -> None:
    """Async tools are cancelled; a thread is let go, and its result is dropped."""
    gate, thread_ends, thread_begun = Gate(), threading.Event(), threading.Event()

    def blocking() -> str:
        thread_begun.set()
        thread_ends.wait(20)
        return "too late"

    async with asking([calling("wait", "blocking")]) as model:
        answer = model.answer(session, "Hi", tools=[gate.tool, blocking])
        await gate.begun.wait()
        await until(thread_begun.is_set)
        assert await elsewhere.cancel("enough")
        async with asyncio.timeout(A_SECOND):
            outcome = await answer
        thread_ends.set()
        assert outcome.status == "stopped"
        assert gate.was_cancelled
        await asyncio.sleep(0.05)
        assert model.asked == 1
    (turn,) = await turns_of(session)
    assert turn.status == "stopped"
    assert not turn.steps[0].tool_results
    (_, _, *results) = said(await session.prompt())
    assert [role for role, _ in results] == ["tool", "tool"]
    assert "interrupted" in results[0][1]


async def test_a_tool_that_ignores_it_is_let_go(session: Session) -> None:
    begun, ends = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        begun.set()
        while not ends.is_set():
            with suppress(asyncio.CancelledError):
                await ends.wait()
        return "done anyway"

    async with asking([calling("stubborn")]) as model:
        answer = model.answer(session, "Hi", tools=[stubborn])
        await begun.wait()
        assert await session.cancel()
        async with asyncio.timeout(A_SECOND):
            assert (await answer).status == "stopped"
        ends.set()
        await asyncio.sleep(0.05)
        assert model.asked == 1
    assert not (await turns_of(session))[0].steps[0].tool_results


async def test_a_tool_can_stop_its_own_turn(session: Session) -> None:
    async def give_up(context: ToolContext) -> str:
        await context.session.cancel("the tool gave up")
        await asyncio.sleep(10)
        return "never"

    async with asking([calling("give_up")]) as model:
        outcome = await model.answer(session, "Hi", tools=[give_up])
        assert (outcome.status, outcome.reason) == ("stopped", "the tool gave up")
        assert model.asked == 1


async def test_before_the_request_is_answered(session: Session, elsewhere: Session) -> None:
    async with asking([Answer("Late.", delay=5)]) as model:
        answer = model.answer(session, "Hi")
        await until(lambda: model.asked)
        await elsewhere.cancel()
        async with asyncio.timeout(A_SECOND):
            assert (await answer).status == "stopped"
    assert await statuses(session) == ["stopped"]


async def test_while_it_is_queued(session: Session, elsewhere: Session) -> None:
    gate = Gate()
    async with asking([calling("wait"), Answer("One."), Answer("Three.")]) as model:
        first = model.answer(session, "one", "m-1", tools=[gate.tool])
        await gate.begun.wait()
        queued = await model.answer(session, "two", "m-2", on_busy="queue").begun()
        third = await model.answer(session, "three", "m-3", on_busy="queue").begun()
        assert await elsewhere.cancel("not needed", turn_id="m-2")
        assert not await elsewhere.cancel("not needed", turn_id="m-2")
        async with asyncio.timeout(A_SECOND):
            outcome = await queued
        assert (outcome.status, outcome.reason, outcome.text) == ("stopped", "not needed", None)
        assert (await model.answer(elsewhere, "two", "m-2")).status == "stopped"
        gate.opened.set()
        assert [(await answer).text for answer in (first, third)] == ["One.", "Three."]
        assert model.asked == 3
    assert await statuses(session) == ["finished", "stopped", "finished"]


@pytest.mark.parametrize("what", ["a result", "a decision"])
async def test_while_it_waits_for(session: Session, elsewhere: Session, what: str) -> None:
    async def act() -> Any:
        return Pending("started")

    tool = Tool(act, needs_approval=what == "a decision")
    replies = (
        [calling("act"), Answer("It runs."), Answer("I go on.")]
        if what == "a result"
        else [calling("act"), Answer("I go on.")]
    )
    async with asking(replies) as model:
        assert (await model.answer(session, "Hi", tools=[tool])).status == "waiting"
        assert await elsewhere.cancel("no more")
        assert await statuses(session) == ["stopped"]
        assert not await elsewhere.cancel("no more")
        assert (await model.answer(session, "And?", tools=[tool])).text == "I go on."
    assert (await statuses(session))[0] == "stopped"


async def test_a_stop_between_two_steps_is_the_end(session: Session) -> None:
    """The stop comes with the result of the last tool."""

    async def act(context: ToolContext) -> str:
        await context.session.cancel("enough")
        return "done"

    async with asking([calling("act")]) as model:
        assert (await model.answer(session, "Hi", tools=[act])).status == "stopped"
        assert model.asked == 1


async def test_one_in_another_process(settings: Settings, session: Session) -> None:
    async with asking([calling("wait")]) as model:
        url = model.provider.base_url
        with Child(programs.answer, settings, session.id, url, {"message": "Hi"}) as child:
            await child.until("tool")
            assert await session.cancel("enough")
            async with asyncio.timeout(A_SECOND):
                assert await child.hear() == ("stopped", None)
        assert model.asked == 1
    assert await statuses(session) == ["stopped"]


async def test_the_session_goes_on_after_a_stop(session: Session) -> None:
    async with asking([calling("wait"), Answer("Yes?")]) as model:
        gate = Gate()
        first = model.answer(session, "Hi", tools=[gate.tool])
        await gate.begun.wait()
        await session.cancel()
        second = await model.answer(session, "Hello?", tools=[gate.tool])
        assert (second.status, second.text) == ("finished", "Yes?")
        assert (await first).status == "stopped"
        assert said(model.prompts[1])[0] == ("user", "Hi")
        assert said(model.prompts[1])[-1] == ("user", "Hello?")
