"""Messages that are sent during a turn: taken at once, shown as queued, and sent after what they came into."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.rules import CHECKS, check_prompts
from turnlog import Session, SessionLog, Settings
from turnlog.infrastructure.principal import SYSTEM
from turnlog.projections.prompt import Api
from turnlog.projections.view import Message


async def queued(session: Session) -> list[Any]:
    return [message.content for message in await messages(session) if message.queued]


async def messages(session: Session) -> list[Message]:
    return [message for turn in (await session.view()).turns for message in turn.messages]


def said(prompt: Any) -> list[str]:
    """What a prompt for any API says, in order, in a word each."""
    text = str(prompt["messages"] if isinstance(prompt, dict) else prompt)
    words = ["First?", "Searching", "cats found", "dogs found", "Second?", "Third?", "Both"]
    return sorted((word for word in words if word in text), key=text.index)


@pytest.mark.parametrize("api", list(CHECKS))
async def test_a_message_during_a_turn_is_queued_and_sent_after_the_results(
    session: Session, settings: Settings, api: Api
) -> None:
    await session.say("First?")
    async with session.completion() as completion:
        await completion.text("Searching")
        async with SessionLog.open(settings) as other:  # a second tab
            await other.session(session.id, "u1").say("Second?", message_id="m-2")
            assert await queued(other.session(session.id, "u1")) == ["Second?"]
        await session.say("Second?", message_id="m-2")  # a retry
        await completion.tool_call("c1", "find", "{}")
        await completion.tool_call("c2", "find", "{}")
        await session.add_tool_result("c1", "cats found")
        await completion.finish("tool_calls")
    await session.say("Third?")
    assert await queued(session) == ["Second?", "Third?"]
    check_prompts(await session.view())

    await session.add_tool_result("c2", "dogs found")
    assert await queued(session) == []
    assert said(await session.prompt(api)) == [
        "First?", "Searching", "cats found", "dogs found", "Second?", "Third?"
    ]  # fmt: skip

    async with session.completion() as completion:
        await completion.text("Both")
        assert await queued(session) == []
        await completion.finish("stop")
    check_prompts(await session.view())
    assert said(await session.prompt(api))[-3:] == ["Second?", "Third?", "Both"]
    assert await queued(session) == []


async def test_a_pending_result_is_a_result_and_keeps_no_message_waiting(session: Session) -> None:
    await session.say("First?")
    async with session.completion() as completion:
        await completion.tool_call("c1", "report", "{}")
        await completion.finish("tool_calls")
    await session.say("Second?")
    assert await queued(session) == ["Second?"]
    await session.add_tool_result("c1", "started", status="pending")
    assert await queued(session) == []


async def test_a_message_waits_no_more_once_the_step_before_it_was_cut_off(session: Session) -> None:
    await session.say("First?")
    async with session.completion() as completion:
        await completion.tool_call("c1", "report", "{}")
        await session.say("Second?")
    assert await queued(session) == []
    check_prompts(await session.view())


async def test_a_developer_message_waits_too_and_a_message_before_the_step_does_not(session: Session) -> None:
    await session.add_message("system", "Be brief.")
    await session.say("First?")
    async with session.completion() as completion:
        await session.add_message("developer", "Be kind.")
        assert await queued(session) == ["Be kind."]
        await completion.finish()


async def test_an_imported_conversation_has_no_queue(log: SessionLog) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [{"role": "assistant", "tool_calls": [call]}, {"role": "user", "content": "And?"}]
    session = await log.import_session(history, "u1")
    assert await queued(log.session(session.id, SYSTEM)) == []
