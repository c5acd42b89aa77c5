"""Odd text that is not bad comes back exactly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import Redis

from tests.support.inputs import is_taken
from tests.support.prompt_rules import check_chat_prompt
from tests.support.sessions import FEW_SECONDS, call_tools
from turnlog import SYSTEM, Session, SessionLog, Settings

ODD = [
    "a\0b",
    "\0",
    "\ud83d",
    "\ude00 and \ud83d",
    "\ude00\ud83d",
    "\U0001f600",
    "\ufffe\uffff",
    "\u2028\u2029\x85",
    "\\ud83d \\u0000 \\",
    '"}],',
    "\r\n\r",
    "e\u0301\u200d\ufeff",
]


@pytest.mark.parametrize("odd", ODD)
async def test_odd_text_comes_back_exactly_from_everywhere(
    log: SessionLog, session: Session, odd: str, settings: Settings, redis: Redis
) -> None:
    await put_everywhere(session, odd)
    check_that_it_is_everywhere(await session.view(), odd)
    await check_events(session, odd)
    first = await session.view()
    async with SessionLog.open(settings) as from_cache:
        assert await from_cache.session(session.id, "u1").view() == first
    for key in redis.keys(f"*{session.id}*"):
        redis.delete(key)
    async with SessionLog.open(settings) as from_log:
        reopened = from_log.session(session.id, "u1")
        assert await reopened.view() == first
        check_chat_prompt(await reopened.prompt())
        assert type(first).model_validate_json(first.model_dump_json()) == first
    assert (await log.list_sessions("u1")).items[0].title == f"title {odd}"


async def put_everywhere(session: Session, odd: str) -> None:
    await session.set_title(f"title {odd}")
    await session.set_metadata({"plain": odd, "deep": [{"er": odd}]})
    await session.add_message("user", odd, name=f"n{odd}")
    await session.say([{"type": "text", "text": odd}])
    async with session.completion(model=f"m{odd}") as completion:
        await completion.reasoning(odd)
        for half in (odd[:1], odd[1:]):
            await completion.text(half)
        await completion.tool_call("call-1", f"f{odd}", odd)
        await completion.tool_call("call-2", "search", '{"q": "' + odd + '"}')
        await completion.finish("tool_calls", usage={"prompt_tokens": 1, "note": odd})
    await session.add_tool_result("call-1", odd)
    await session.add_tool_result("call-2", [{"type": "text", "text": odd}], status="pending")
    await session.add_message("assistant", None, refusal=f"r{odd}", function_call={"name": "f", "arguments": odd})


def check_that_it_is_everywhere(view: Any, odd: str) -> None:
    assert (view.title, view.metadata) == (f"title {odd}", {"plain": odd, "deep": [{"er": odd}]})
    plain, parts = view.turns[0].messages
    assert (plain.content, plain.name, parts.content[0]["text"]) == (odd, f"n{odd}", odd)
    step, whole = view.turns[0].steps
    assert (step.message.content, step.message.reasoning, step.model) == (odd, odd, f"m{odd}")
    assert (step.message.tool_calls[0].name, step.message.tool_calls[0].arguments) == (f"f{odd}", odd)
    assert step.message.tool_calls[1].arguments == '{"q": "' + odd + '"}'
    assert (step.result_of(0).content, step.result_of(1).content[0]["text"]) == (odd, odd)
    assert step.usage["note"] == odd
    assert (whole.message.refusal, whole.message.function_call.arguments) == (f"r{odd}", odd)


async def check_events(session: Session, odd: str) -> None:
    events: list[Any] = [recorded.event async for recorded in session.events()]
    texts = [event.text for event in events if event.topic == "text-delta.v1"]
    assert "".join(texts) == odd
    assert [event.title for event in events if event.topic == "session-titled.v1"] == [f"title {odd}"]
    assert [event.patch["plain"] for event in events if event.topic == "metadata-set.v1"] == [odd]
    assert next(event.arguments for event in events if event.topic == "tool-call-arguments-delta.v1") == odd
    assert next(event.content for event in events if event.topic == "tool-result-added.v1") == odd


async def test_the_halves_of_an_emoji_are_two_in_the_log_and_one_in_the_prompt(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("\ud83d")
        await completion.text("\ude00")
        await completion.finish("stop")
    assert (await session.view()).messages[0]["content"] == "\ud83d\ude00"
    assert (await session.prompt())[0]["content"] == "\U0001f600"


@pytest.mark.parametrize("odd", ODD)
async def test_odd_text_in_a_call_id_finds_its_call(session: Session, settings: Settings, odd: str) -> None:
    await call_tools(session, odd)
    await session.add_tool_result(odd, "asked", status="pending")
    async with SessionLog.open(settings) as reopened:
        worker = reopened.session(session.id, SYSTEM)
        await worker.add_tool_result(odd, "21 C")
        await worker.add_tool_result(odd, "21 C")
        view = await worker.view()
    assert view.turns[0].steps[0].tool_results[0].call_id == odd
    assert view.faults == ()
    check_chat_prompt(await session.prompt())


@pytest.mark.parametrize("odd", ODD)
async def test_odd_text_in_a_key_is_refused_or_comes_back_exactly(
    session: Session, other_log: SessionLog, odd: str
) -> None:
    taken = [
        await is_taken(session.set_metadata({odd: {odd: 1}})),
        await is_taken(session.say([{"type": "text", "text": "Hello", odd: odd}])),
        await is_taken(session.add_usage({"prompt_tokens": 1, odd: 2})),
    ]
    async with asyncio.timeout(FEW_SECONDS):
        view = await other_log.session(session.id, "u1").view()
        assert await session.view() == view
    came_back = [
        view.metadata == {odd: {odd: 1}},
        [message["content"][0].get(odd) for message in view.messages] == [odd],
        [entry.usage.get(odd) for entry in view.usage.entries] == [2],
    ]
    assert came_back == taken


async def test_odd_text_as_the_users_name_is_found_in_the_list(log: SessionLog) -> None:
    for user_id in ("\U0001f600", "a'b\"c\\d%_", "\u202eu1", "e\u0301"):
        session = await log.start_session(user_id)
        page = await log.list_sessions(user_id)
        assert [item.session_id for item in page.items] == [session.id]
        assert (await log.session(session.id, user_id).view()).user_id == user_id
