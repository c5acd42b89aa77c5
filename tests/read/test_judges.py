"""Judges that are not ours: the openai package's own types, and another project's converter to Anthropic's format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_anthropic.chat_models import _format_messages
from langchain_core.messages import convert_to_messages
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputParam
from pydantic import TypeAdapter, ValidationError

from tests.support.conversations import FOLDERS, conversations
from tests.support.real_data import each_sample, evenly
from turnlog import SessionLog
from turnlog.projections.prompt.anthropic import OPENING

CHAT = TypeAdapter(list[ChatCompletionMessageParam])
RESPONSES = TypeAdapter(ResponseInputParam)
CORPORA = ["valid", "valid_reused_ids", "pending_call_at_end"]


@each_sample
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("name", CORPORA)
async def test_the_openai_package_takes_the_prompts(log: SessionLog, folder: Any, name: str, count: int) -> None:
    for messages in evenly(conversations(folder, name), count):
        session = await log.import_session(messages, "u1")
        CHAT.validate_python(await session.prompt(), strict=False)
        RESPONSES.validate_python(await session.prompt("responses"))


def test_the_openai_package_refuses_what_is_no_prompt() -> None:
    for bad in ([{"role": "robot", "content": "x"}], [{"role": "tool", "content": "x"}]):
        with pytest.raises(ValidationError):
            CHAT.validate_python(bad)


@each_sample
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("name", CORPORA)
async def test_another_converter_gives_the_same_blocks(log: SessionLog, folder: Any, name: str, count: int) -> None:
    for messages in evenly(conversations(folder, name), count):
        session = await log.import_session(messages, "u1")
        chat, ours = await session.prompt(), await session.prompt("anthropic")
        if any(
            "input_audio" in json.dumps(message) or "file" in json.dumps(message.get("content")) for message in chat
        ):
            continue
        plain = [message for message in chat if message["role"] not in ("system", "developer")]
        _, theirs = _format_messages(convert_to_messages(plain), model="claude")
        sent = [message for message in ours["messages"] if message["content"][0].get("text") != OPENING]
        assert [_blocks(message) for message in sent] == [_blocks(message) for message in theirs]


def _blocks(message: dict[str, Any]) -> list[Any]:
    """What counts of a message; ids by their place, for the two APIs allow different ones."""
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return [_block(block) for block in content if block.get("text", "x").strip()]


def _block(block: dict[str, Any]) -> Any:
    kind = block["type"]
    if kind == "tool_use":
        return kind, block["name"], block["input"]
    if kind == "tool_result":
        content = block.get("content") or ""
        return kind, "".join(part["text"] for part in content) if isinstance(content, list) else content
    return kind, (block.get("text") or "").rstrip() if kind == "text" else block["source"]
