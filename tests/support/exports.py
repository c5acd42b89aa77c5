"""Exports of other systems, in tests/data/exports: of our own making, in the shape of real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turnlog.domain.foreign import ForeignConversation, conversation_of, conversations_in

EXPORTS = Path(__file__).parents[1] / "data" / "exports"
NAMES = tuple(sorted(path.name for path in EXPORTS.iterdir()))


def export(name: str) -> Any:
    """What the file holds: of JSONL a list of its lines."""
    text = (EXPORTS / name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else json.loads(text)


def conversations(name: str) -> list[ForeignConversation]:
    """The conversations of the file."""
    return [conversation_of(raw) for raw in conversations_in(export(name))]


def in_short(prompt: list[dict[str, Any]]) -> Iterator[str]:
    """A prompt of Chat Completions in short: who says what, and who calls what."""
    for message in prompt:
        content = message["content"]
        parts = [content] if isinstance(content, str) else [_part(part) for part in content or ()]
        calls = [f"{call['function']['name']}{call['function']['arguments']}" for call in message.get("tool_calls", ())]
        yield f"{message['role']}: {' | '.join([*parts, *calls])}"


def _part(part: dict[str, Any]) -> str:
    return part["text"] if part["type"] == "text" else f"<{part['type']}>"
