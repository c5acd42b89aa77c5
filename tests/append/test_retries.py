"""What is delivered again counts once: messages, tool calls and their results."""

from __future__ import annotations

import asyncio

from tests.support.sessions import answer, call_tools, checked_prompt, contents, stored_events
from turnlog import SYSTEM, Session, SessionLog, Settings
from turnlog.domain.errors import ToolResultConflictError


async def test_a_message_that_a_proxy_sends_three_times_is_stored_once(
    session: Session, log: SessionLog, other_log: SessionLog
) -> None:
    handlers = [session, log.session(session.id, "u1"), other_log.session(session.id, "u1")]
    sent = await asyncio.gather(*(each.say("Weather?", message_id="m-1") for each in handlers))
    assert sent == ["m-1"] * 3
    for each in handlers:
        await each.say("Weather?", message_id="m-1")
    assert contents((await session.view()).messages) == ["Weather?"]
    assert len(await stored_events(session)) == 2


async def test_a_retry_that_comes_turns_later_and_after_a_restart_is_still_known(
    settings: Settings, session: Session
) -> None:
    await session.say("Weather?", message_id="m-1")
    for number in range(5):
        await answer(session, f"answer {number}")
        await session.say(f"question {number}")
    before = await session.view()
    async with SessionLog.open(settings) as restarted:
        again = restarted.session(session.id, "u1")
        await again.view()
        await again.say("Weather?", message_id="m-1")
        assert await again.view() == before


async def test_a_message_is_known_after_more_messages_than_the_memory_holds(session: Session) -> None:
    await asyncio.gather(*(session.say(f"number {number}", message_id=f"m-{number}") for number in range(1100)))
    await asyncio.gather(*(session.say("again", message_id=f"m-{number}") for number in (0, 500, 1099)))
    assert len((await session.view()).messages) == 1100


async def test_one_message_id_in_two_sessions_is_two_messages(log: SessionLog, session: Session) -> None:
    other = await log.start_session("u1")
    for each in (session, other):
        await each.say("Hello", message_id="m-1")
        assert len((await each.view()).messages) == 1


async def test_a_tool_that_ran_twice_has_the_first_result(session: Session, other_log: SessionLog) -> None:
    await call_tools(session, "call-1")
    workers = [session, other_log.session(session.id, SYSTEM)]
    outcomes = await asyncio.gather(
        *(worker.add_tool_result("call-1", f"ticket {number}") for number, worker in enumerate(workers)),
        return_exceptions=True,
    )
    (lost,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(lost, ToolResultConflictError)
    winner = outcomes.index(None)
    assert (await checked_prompt(session))[-1]["content"] == f"ticket {winner}"


async def test_a_result_that_is_delivered_twice_is_stored_once(session: Session, other_log: SessionLog) -> None:
    await call_tools(session, "call-1")
    workers = [session, other_log.session(session.id, SYSTEM)] * 2
    await asyncio.gather(*(worker.add_tool_result("call-1", "ticket 1") for worker in workers))
    topics = [event.topic for event in await stored_events(session)]
    assert topics.count("tool-result-added.v1") == 1


async def test_a_call_that_is_delivered_twice_is_one_call(session: Session) -> None:
    async with session.completion() as completion:
        for _ in range(2):
            await completion.tool_call("call-1", "create_ticket", '{"title": "Help"}')
        await completion.finish("tool_calls")
    assert [call.id for call in (await session.view()).pending_tool_calls] == ["call-1"]


async def test_a_call_that_is_being_run_is_not_among_those_to_run(session: Session) -> None:
    async with session.completion() as completion:
        await completion.tool_call("call-1", "create_ticket", "{}")
        assert (await session.view()).pending_tool_calls == ()  # nothing is started on a guess
        await completion.finish("tool_calls")
    assert len((await session.view()).pending_tool_calls) == 1
    await session.add_tool_result("call-1", "started", status="pending")
    assert (await session.view()).pending_tool_calls == ()
