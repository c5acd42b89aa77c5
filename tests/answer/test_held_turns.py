"""session.turn(): a turn that a handler with a loop of its own holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.answering import asking, brief, calling, said, statuses, turns_of
from tests.support.recording import Words, record, spoken
from tests.support.writers import die
from turnlog import (
    Session,
    SessionLog,
    Settings,
    StepClosedError,
    ToolRunningError,
    TurnClosedError,
    TurnInProgressError,
)
from turnlog.testing import Answer


@pytest.fixture(params=["one log", "two logs"])
async def elsewhere(request: pytest.FixtureRequest, session: Session, other_log: SessionLog) -> Session:
    """The session as a second handler has it: of the same process, or of another."""
    return session if request.param == "one log" else other_log.session(session.id, "u1")


async def call_tool(session: Session, *names: str) -> None:
    """A step that calls tools."""
    async with session.completion() as completion:
        for name in names:
            await completion.tool_call(f"call-{name}", name, "{}")
        await completion.finish("tool_calls")


async def test_a_loop_by_hand_is_one_turn(session: Session) -> None:
    await session.say("Weather?", "m-1")
    async with asking([calling("weather"), Answer("21 C.")]) as model, session.turn() as turn:
        assert turn.turn_id == "m-1"
        while turn.has_news:
            assert await statuses(session) == ["answering"]
            create = model.client.chat.completions.create
            await record(session, create(model="m", messages=await session.prompt(), stream=True))
            for call in (await session.view()).pending_tool_calls:
                assert await statuses(session) == ["running_tools"]
                await turn.start_tool(call)
                await session.add_tool_result(call.id, "21 C", step_id=call.step_id)
        assert model.asked == 2
    (turned,) = await turns_of(session)
    assert (turned.status, turned.turn_id, len(turned.steps)) == ("finished", "m-1", 2)
    assert turned.steps[0].tool_runs[0].run == turned.runs[0].run


async def test_nobody_else_writes_while_it_is_held(session: Session, elsewhere: Session) -> None:
    held, leave = asyncio.Event(), asyncio.Event()
    await session.say("Hi")

    async def hold() -> None:
        async with session.turn() as turn:
            await call_tool(session, "weather", "time")
            call, _ = (await session.view()).pending_tool_calls
            await turn.start_tool(call)
            held.set()
            await leave.wait()
            await session.add_tool_result("call-weather", "21 C")

    holding = asyncio.create_task(hold())
    await held.wait()
    ways: list[Any] = [
        record(elsewhere, spoken("no")),
        elsewhere.record_in_background(spoken("no")),
        elsewhere.completion().__aenter__(),
        elsewhere.turn().__aenter__(),
    ]
    for way in ways:
        with pytest.raises(TurnInProgressError) as refused:
            await way
        assert refused.value.turn_id == (await turns_of(session))[0].turn_id
    with pytest.raises(ToolRunningError):
        await elsewhere.add_tool_result("call-weather", "22 C")
    await elsewhere.add_tool_result("call-time", "noon")  # nobody runs it
    leave.set()
    await holding
    assert [result.content for result in (await turns_of(session))[0].steps[0].tool_results] == ["noon", "21 C"]


async def test_an_answer_waits_for_the_turn_that_is_held(session: Session, elsewhere: Session) -> None:
    async with asking([Answer("Hello.")]) as model:
        await session.say("one", "m-1")
        async with session.turn():
            steered = await model.answer(elsewhere, "two", "m-2").begun()
            await record(session, spoken("To both."))
            with pytest.raises(TurnInProgressError):
                await model.answer(elsewhere, "three", on_busy="refuse")
        outcome = await steered
        assert (outcome.status, outcome.text, model.asked) == ("finished", "To both.", 0)


async def test_a_message_that_the_held_turn_did_not_see_is_answered_after_it(
    session: Session, elsewhere: Session
) -> None:
    async with asking([Answer("Hello.")]) as model:
        await session.say("one", "m-1")
        async with session.turn():
            await record(session, spoken("To one."))
            steered = await model.answer(elsewhere, "two", "m-2").begun()
        assert (await steered).text == "Hello."
        assert said(model.prompts[0])[:3] == [("user", "one"), ("assistant", "To one."), ("user", "two")]


@pytest.mark.parametrize(
    ("how", "status"), [("done", "finished"), ("error", "failed"), ("cancelled", "abandoned"), ("pending", "waiting")]
)
async def test_leaving_ends_it(session: Session, how: str, status: str) -> None:
    await session.say("Hi")

    async def hold() -> None:
        async with session.turn():
            await call_tool(session, "weather")
            if how == "error":
                raise ValueError("no weather")
            if how == "cancelled":
                await asyncio.sleep(10)
            await session.add_tool_result("call-weather", "21 C", "pending" if how == "pending" else "final")

    holding = asyncio.create_task(hold())
    if how == "cancelled":
        while not await turns_of(session) or not (await turns_of(session))[0].steps:
            await asyncio.sleep(0.01)
        holding.cancel()
    (error,) = await asyncio.gather(holding, return_exceptions=True)
    assert type(error) is {"error": ValueError, "cancelled": asyncio.CancelledError}.get(how, type(None))
    assert await statuses(session) == [status]
    (turn,) = await turns_of(session)
    assert ("no weather" in turn.runs[0].reason) == (how == "error")


async def test_a_stop_cancels_the_block(session: Session, elsewhere: Session) -> None:
    await session.say("Hi")
    held = asyncio.Event()

    async def hold() -> None:
        async with session.turn():
            held.set()
            await asyncio.sleep(10)

    holding = asyncio.create_task(hold())
    await held.wait()
    assert await elsewhere.cancel("enough")
    async with asyncio.timeout(1.5):
        with pytest.raises(TurnClosedError):
            await holding
    assert await statuses(session) == ["stopped"]
    (turn,) = await turns_of(session)
    assert turn.runs[0].reason == "enough"


async def test_whoever_was_stopped_can_write_nothing_more(session: Session, elsewhere: Session) -> None:
    await session.say("Hi")
    refused = list[str]()

    async def hold() -> None:
        async with session.turn():
            await call_tool(session, "weather")
            await elsewhere.cancel()
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                for way in (record(session, spoken("no")), session.add_tool_result("call-weather", "21 C")):
                    (error,) = await asyncio.gather(way, return_exceptions=True)
                    refused.append(type(error).__name__)
                raise

    with pytest.raises(TurnClosedError):
        await hold()
    assert refused == [TurnClosedError.__name__] * 2


async def test_an_own_cancellation_stays_one(session: Session) -> None:
    """A timeout around the block is not taken for a stop."""
    await session.say("Hi")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), session.turn():
            await asyncio.sleep(10)
    assert await statuses(session) == ["abandoned"]


async def test_it_is_taken_over_when_the_lease_has_run_out(settings: Settings) -> None:
    async with SessionLog.open(brief(settings)) as log, SessionLog.open(brief(settings)) as dead:
        session = await log.start_session("u1")
        await session.say("Hi", "m-1")
        lost = dead.session(session.id, "u1")
        left = asyncio.Event()

        async def hold() -> None:
            async with lost.turn(), lost.completion() as completion:
                await completion.text("partial")
                left.set()
                await asyncio.sleep(20)

        holding = asyncio.create_task(hold())
        await left.wait()
        with pytest.raises(TurnInProgressError) as refused:
            await session.turn().__aenter__()
        assert refused.value.until is not None
        await die(dead)
        async with session.turn(takeover=True) as turn:
            assert turn.turn_id == "m-1"
            await record(session, spoken("whole"))
            async with asyncio.timeout(5):
                with pytest.raises((TurnClosedError, StepClosedError)):
                    await holding
        assert await statuses(session) == ["finished"]
        assert [run.status for run in (await turns_of(session))[0].runs] == ["abandoned", "finished"]
        assert said(await session.prompt()) == [("user", "Hi"), ("assistant", "whole")]


async def test_tasks_that_are_started_inside_act_as_the_owner(session: Session) -> None:
    await session.say("Hi")
    async with session.turn(), asyncio.TaskGroup() as group:
        group.create_task(record(session, spoken("mine")))
    (turn,) = await turns_of(session)
    assert turn.steps[0].message.content == "mine"
    assert len(turn.runs) == 1


async def test_a_task_that_outlives_the_block_is_an_outsider(session: Session) -> None:
    await session.say("Hi")
    left = asyncio.Event()

    async def later() -> None:
        await left.wait()
        await session.add_tool_result("call-weather", "21 C")
        await record(session, spoken("on its own"))

    async with session.turn():
        await call_tool(session, "weather")
        await session.add_tool_result("call-weather", "asked", "pending")
        task = asyncio.create_task(later())
    left.set()
    await task
    assert (await turns_of(session))[-1].steps[-1].message.content == "on its own"


async def test_turns_of_two_sessions_can_be_held_at_once(log: SessionLog) -> None:
    one, two = await log.start_session("u1"), await log.start_session("u1")
    for session in (one, two):
        await session.say("Hi")
    async with one.turn(), two.turn():
        for session in (one, two):
            await record(session, spoken("Hello."))
    assert await statuses(one) == await statuses(two) == ["finished"]


async def test_the_turn_of_a_message_that_is_not_to_be_answered_now_is_refused(session: Session) -> None:
    await session.say("one", "m-1")
    async with session.turn("m-1"):
        await record(session, spoken("One."))
    for turn_id in ("m-1", "m-2"):
        with pytest.raises(TurnClosedError):
            await session.turn(turn_id).__aenter__()
    turn = session.turn()
    async with turn:
        pass
    with pytest.raises(TurnClosedError):
        await turn.__aenter__()


async def test_a_step_that_is_open_refuses_it(session: Session, elsewhere: Session) -> None:
    await session.say("Hi")
    async with session.completion() as completion:
        await completion.text("Hel")
        with pytest.raises(TurnInProgressError):
            await elsewhere.turn().__aenter__()
        await completion.finish()
    async with elsewhere.turn():
        pass


async def test_the_log_is_closed_while_it_is_held(settings: Settings, session: Session) -> None:
    await session.say("Hi")
    async with SessionLog.open(settings) as log:
        there = log.session(session.id, "u1")
        turn = there.turn()
        await turn.__aenter__()
        await anext(there.record(Words("Hel").stream(), detached=True))
    assert await statuses(session) == ["abandoned"]
    async with asking([Answer("Hello.")]) as model:
        # The answer had come to its end: nobody pays for another one.
        outcome = await model.answer(session)
        assert (outcome.status, outcome.text, model.asked) == ("finished", "Hel", 0)


async def test_what_is_queued_is_answered_when_the_block_has_been_left(session: Session) -> None:
    async with asking([Answer("Two.")]) as model:
        await session.say("one", "m-1")
        async with session.turn():
            queued = await model.answer(session, "two", "m-2", on_busy="queue").begun()
            await record(session, spoken("One."))
            assert await statuses(session) == ["answering", "queued"]
        assert (await queued).text == "Two."
    assert await statuses(session) == ["finished", "finished"]
