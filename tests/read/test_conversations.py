"""Real conversations, recorded message by message: the prompt gives them back, and results stay with their calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.conversations import FOLDERS, Messages, conversations
from tests.support.prompt_rules import check_chat_prompt
from tests.support.real_data import each_sample, evenly
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session


async def replay(session: Session, messages: Messages) -> None:
    for message in messages:
        if message["role"] == "tool":
            await session.add_tool_result(message["tool_call_id"], message["content"])
        elif (
            message["role"] == "assistant" and isinstance(message.get("content"), str | None) and "name" not in message
        ):
            await _stream(session, message)
        else:
            given = {key: message[key] for key in ("name", "tool_calls") if key in message}
            await session.add_message(message["role"], message.get("content"), **given)


async def _stream(session: Session, message: dict[str, Any]) -> None:
    async with session.completion() as completion:
        await completion.text(message.get("content") or "")
        for call in message.get("tool_calls") or []:
            await completion.tool_call(call["id"], call["function"]["name"], call["function"]["arguments"])
        await completion.finish()


def plain(messages: Any, ids: bool = True) -> list[Any]:
    """What of a message the model reads. Ids only by their place, where they may be renamed."""
    out, open_calls = [], list[str]()
    for message in messages:
        calls = message.get("tool_calls") or []
        open_calls = [call["id"] for call in calls] or open_calls
        call_id = message.get("tool_call_id")
        place = call_id if ids or call_id is None else open_calls.index(call_id)
        shapes = [
            (call["id"] if ids else "", call["function"]["name"], call["function"]["arguments"]) for call in calls
        ]
        out.append((message["role"], message.get("content") or None, message.get("name") if not call_id else None,
                    shapes, place))  # fmt: skip
    return out


async def prompts(log: SessionLog, replayed: Sequence[Messages]) -> list[Any]:
    async def prompt(messages: Messages) -> Any:
        session = await log.start_session(user_id="u1")
        await replay(session, messages)
        return await session.prompt()

    return await asyncio.gather(*(prompt(messages) for messages in replayed))


@each_sample
@pytest.mark.parametrize("folder", FOLDERS)
async def test_the_prompt_of_a_recorded_conversation_is_that_conversation(
    log: SessionLog, folder: Path, count: int
) -> None:
    originals = evenly(conversations(folder, "valid"), 4 * count)

    for original, prompt in zip(originals, await prompts(log, originals), strict=True):
        check_chat_prompt(prompt)
        assert plain(prompt) == plain(original)


@each_sample
@pytest.mark.parametrize("folder", FOLDERS)
async def test_call_ids_that_come_back_pair_with_the_right_call(log: SessionLog, folder: Path, count: int) -> None:
    originals = evenly(conversations(folder, "valid_reused_ids"), count)

    for original, prompt in zip(originals, await prompts(log, originals), strict=True):
        check_chat_prompt(prompt)
        assert plain(prompt, ids=False) == plain(original, ids=False)
        ids = [call["id"] for message in prompt for call in message.get("tool_calls") or []]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("folder", FOLDERS)
async def test_a_call_that_is_still_open_is_answered_in_the_prompt(log: SessionLog, folder: Path) -> None:
    originals = conversations(folder, "pending_call_at_end")

    for original, prompt in zip(originals, await prompts(log, originals), strict=True):
        check_chat_prompt(prompt)
        assert plain(prompt)[: len(original)] == plain(original)
        assert all(message["role"] == "tool" for message in prompt[len(original) :])
