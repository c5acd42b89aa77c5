"""The openai client's own streams are recorded, and a provider that refuses what real ones refuse takes the prompts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from openai import AsyncOpenAI

from tests.support.prompt_rules import check_chat_prompt
from tests.support.sessions import assert_conversation_goes_on, only_step, roles
from turnlog import Session
from turnlog.testing import FakeProvider


@pytest.fixture
async def client() -> AsyncIterator[AsyncOpenAI]:
    with FakeProvider() as strict:
        async with AsyncOpenAI(base_url=strict.base_url, api_key="none", max_retries=0) as opened:
            yield opened


async def ask(client: AsyncOpenAI, session: Session, model: str) -> None:
    """One round: a prompt that the provider takes, and its answer recorded."""
    prompt = await session.prompt()
    check_chat_prompt(cast("list[dict[str, Any]]", prompt))
    stream = await client.chat.completions.create(model=model, messages=prompt, stream=True)
    async for _ in session.record(stream):
        pass


async def test_a_provider_takes_the_prompt_after_a_long_running_call(session: Session, client: AsyncOpenAI) -> None:
    await session.say("A report, please.")
    await ask(client, session, "text-and-long-running-call")
    (call,) = (await session.view()).pending_tool_calls
    await session.add_tool_result(call.id, "started", status="pending")
    await ask(client, session, "plain-text")
    await session.say("Is it done?")
    await session.add_tool_result(call.id, "the report")
    await ask(client, session, "plain-text")
    expected = ["user", "assistant", "tool", "assistant", "user", "user", "assistant"]
    assert roles(await session.prompt()) == expected  # the late result is a message of its own


@pytest.mark.parametrize("chunks", [1, 3, 8, 15])
async def test_a_provider_takes_the_prompt_after_its_connection_broke(
    session: Session, client: AsyncOpenAI, chunks: int
) -> None:
    await session.say("A report, please.")
    with pytest.raises(Exception, match=r"(?i)connection"):  # its class depends on the client's version
        await ask(client, session, f"text-and-long-running-call#cut={chunks}")
    assert only_step(await session.view()).status == "failed"
    await ask(client, session, "plain-text")
    await session.say("Go on.")
    await ask(client, session, "parallel-tool-calls")
    await ask(client, session, "plain-text")
    await assert_conversation_goes_on(session)
