"""A response is one assistant message, whatever was recorded in between, and no two stand side by side."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.prompt_rules import check_no_neighbours
from tests.support.recording import chunk, fragment, played
from tests.support.sessions import answer, call_ids, call_tools, checked_prompt, contents, roles
from turnlog import Session, SessionLog


async def test_text_and_a_call_with_its_pending_result_are_one_message(
    session: Session,
) -> None:
    await session.say("Report, please.")
    async with session.completion() as completion:
        await completion.text("I'll put it together.")
        await completion.tool_call("call-1", "report", "{}")
        await session.add_tool_result("call-1", "started", status="pending")
        await completion.text(" It takes a minute.")
        await completion.finish("tool_calls")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "tool"]
    assert messages[1]["content"] == "I'll put it together. It takes a minute."
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call-1"]
    assert await checked_prompt(session) == messages


async def test_a_call_without_text_is_one_assistant_message_without_content(session: Session) -> None:
    await session.say("Report, please.")
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "done")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "tool"]
    assert messages[1]["content"] is None
    assert await checked_prompt(session) == messages


async def test_a_call_after_a_user_message_leaves_the_older_answer_alone(session: Session) -> None:
    await session.say("Hello")
    await answer(session, "Hi!")
    await session.say("Search for cats.")
    await call_tools(session, "call-1")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "user", "assistant"]
    assert messages[1] == {"role": "assistant", "content": "Hi!"}
    assert [call["id"] for call in messages[3]["tool_calls"]] == ["call-1"]
    assert roles(await checked_prompt(session)) == ["user", "assistant", "user", "assistant", "tool"]


async def test_a_call_of_an_open_step_stays_in_it_after_a_user_message(session: Session) -> None:
    await session.say("Search for cats.")
    async with session.completion() as completion:
        await completion.text("Searching.")
        await session.say("And for dogs!")
        await completion.tool_call("call-1", "search", "{}")
        await completion.finish("tool_calls")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "user"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call-1"]
    assert roles(await checked_prompt(session)) == ["user", "assistant", "tool", "user"]


async def test_two_calls_with_a_pending_result_in_between_are_one_message(session: Session) -> None:
    await session.say("Two reports, please.")
    async with session.completion() as completion:
        await completion.tool_call("t1", "report", "{}")
        await session.add_tool_result("t1", "started", status="pending")
        await completion.tool_call("t2", "report", "{}")
        await completion.finish("tool_calls")
    await session.add_tool_result("t2", "done")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["t1", "t2"]
    assert [message["tool_call_id"] for message in messages[2:]] == ["t1", "t2"]
    assert await checked_prompt(session) == messages


async def test_text_and_a_long_running_call_are_one_assistant_message(session: Session) -> None:
    await session.say("Build me an agent.")
    stream = session.record(
        played(
            chunk("I'll "),
            chunk("create it."),
            chunk(None, fragment(0, "", "call-1", "create_agent")),
            chunk(None, fragment(0, '{"goal": "news"}')),
            chunk(" One moment.", finish_reason="tool_calls"),
        )
    )
    async for piece in stream:
        if piece["choices"][0]["delta"].get("tool_calls") and (await session.view()).turns[0].steps[0].message.content:
            await session.add_tool_result("call-1", "operation started", status="pending")
    messages = (await session.view()).messages
    assert roles(messages) == ["user", "assistant", "tool"]
    assert messages[1]["content"] == "I'll create it. One moment."
    assert call_ids(messages[1]) == ["call-1"]
    await session.say("Is it ready?")
    assert roles(await checked_prompt(session)) == ["user", "assistant", "tool", "user"]


async def test_an_awaited_final_result_in_the_middle_of_a_response_splits_nothing(session: Session) -> None:
    async with session.completion() as completion:
        await completion.tool_call("call-1", "search", "{}")
        await session.add_tool_result("call-1", "found it")
        await completion.text("There it is.")
        await completion.finish("stop")
    assert roles((await session.view()).messages) == ["assistant", "tool"]
    assert roles(await checked_prompt(session)) == ["assistant", "tool"]


async def test_a_call_that_came_after_the_view_was_saved_is_there_after_a_reload(
    session: Session, other_log: SessionLog
) -> None:
    await session.say("Search for cats.")
    async with session.completion() as completion:
        await completion.text("Searching.")
        await session.view()  # read, folded and cached in the middle of the message
        await other_log.session(session.id, "u1").view()
        await completion.tool_call("call-1", "search", '{"q": "cats"}')
        await completion.finish("tool_calls")
    await session.add_tool_result("call-1", "three cats")
    reloaded = await other_log.session(session.id, "u1").view()
    assert reloaded.faults == ()
    assert roles(reloaded.messages) == ["user", "assistant", "tool"]
    assert call_ids(reloaded.messages[1]) == ["call-1"]
    assert reloaded == await session.view()
    await checked_prompt(session)


async def test_two_long_running_calls_of_one_response_are_one_assistant_message(session: Session) -> None:
    await session.say("Two agents, please.")
    async with session.completion() as completion:
        for call_id in ("call-1", "call-2"):
            await completion.tool_call(call_id, "create_agent", "{}")
            await session.add_tool_result(call_id, "started", status="pending")
        await completion.finish("tool_calls")
    prompt = await checked_prompt(session)
    assert roles(prompt) == ["user", "assistant", "tool", "tool"]
    assert call_ids(prompt[1]) == ["call-1", "call-2"]


async def test_text_a_long_running_and_a_regular_call_are_one_message(
    session: Session,
) -> None:
    await session.say("An agent, and the weather.")
    async with session.completion() as completion:
        await completion.text("Both at once.")
        await completion.tool_call("long", "create_agent", "{}")
        await session.add_tool_result("long", "started", status="pending")
        await completion.tool_call("regular", "weather", "{}")
        await completion.finish("tool_calls")
    await session.add_tool_result("regular", "21 C")
    prompt = await checked_prompt(session)
    assert roles(prompt) == ["user", "assistant", "tool", "tool"]
    assert call_ids(prompt[1]) == ["long", "regular"]
    assert contents(prompt[2:]) == ["started", "21 C"]


async def test_a_call_of_the_second_round_is_a_message_of_its_own(session: Session) -> None:
    await session.say("Search, then build.")
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "found")
    async with session.completion() as completion:
        await completion.tool_call("call-2", "create_agent", "{}")
        await session.add_tool_result("call-2", "started", status="pending")
        await completion.finish("tool_calls")
    prompt = await checked_prompt(session)
    assert roles(prompt) == ["user", "assistant", "tool", "assistant", "tool"]
    assert [call_ids(prompt[place]) for place in (1, 3)] == [["call-1"], ["call-2"]]


async def test_a_call_id_that_comes_back_in_a_later_round_is_answered_there(session: Session) -> None:
    for number in (1, 2):
        await session.say(f"Search number {number}.")
        await call_tools(session, "call_0")
        await session.add_tool_result("call_0", f"result {number}")
    messages = (await session.view()).messages
    assert [message["content"] for message in messages if message["role"] == "tool"] == ["result 1", "result 2"]
    assert roles(await checked_prompt(session)) == ["user", "assistant", "tool"] * 2


# Several messages in a row


async def add_whole(session: Session, number: int) -> None:
    await session.add_message("assistant", f"part {number}.")


async def add_finished_step(session: Session, number: int) -> None:
    await answer(session, f"part {number}.")


async def add_interrupted_step(session: Session, number: int) -> None:
    async with session.completion() as completion:
        await completion.text(f"part {number}.")


async def add_step_with_a_call(session: Session, number: int) -> None:
    await call_tools(session, f"call-{number}", text=f"part {number}.")


async def add_whole_with_a_call(session: Session, number: int) -> None:
    call = {"id": "same-id", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    await session.add_message("assistant", f"part {number}.", tool_calls=[call])


SPLITS = [add_whole, add_finished_step, add_interrupted_step, add_step_with_a_call, add_whole_with_a_call]


@pytest.mark.parametrize("first", SPLITS)
async def test_two_assistant_messages_in_a_row_are_never_side_by_side(log: SessionLog, first: Any) -> None:
    for second in SPLITS:
        session = await log.start_session("u1")
        await session.say("Hello")
        await first(session, 1)
        await second(session, 2)
        messages = (await session.view()).messages
        check_no_neighbours(messages)
        check_no_neighbours(await checked_prompt(session))
        said = [message["content"] or "" for message in messages if message["role"] == "assistant"]
        assert "".join(said) == "part 1.part 2.", second


@pytest.mark.parametrize("add", SPLITS)
async def test_three_assistant_messages_in_a_row_are_never_side_by_side(session: Session, add: Any) -> None:
    await session.say("Hello")
    for number in (1, 2, 3):
        await add(session, number)
    check_no_neighbours((await session.view()).messages)
    await checked_prompt(session)
    await session.say("Go on")
    check_no_neighbours((await session.view()).messages)
    assert (await checked_prompt(session))[-1]["content"] == "Go on"


async def test_three_steps_that_answer_each_other_keep_their_messages_apart(session: Session) -> None:
    await session.say("Hello")
    for number in (1, 2):
        await call_tools(session, f"call-{number}")
        await session.add_tool_result(f"call-{number}", "done")
    await answer(session, "Here.")
    assert roles(await checked_prompt(session)) == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert roles((await session.view()).messages) == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
