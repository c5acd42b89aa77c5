"""Which format the messages of a conversation are in: said by their fields, and by no file's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from turnlog.domain.foreign.blocks import are_blocks
from turnlog.domain.foreign.chatgpt import is_chatgpt
from turnlog.domain.foreign.claude_ai import is_claude_ai
from turnlog.domain.foreign.claude_code import is_claude_code
from turnlog.domain.foreign.findings import kind_of, objects
from turnlog.domain.foreign.gemini import is_gemini
from turnlog.domain.foreign.langchain import is_langchain
from turnlog.domain.foreign.librechat import is_librechat
from turnlog.domain.foreign.open_webui import is_open_webui
from turnlog.domain.foreign.pydantic_ai import is_pydantic_ai
from turnlog.domain.foreign.times import column_name
from turnlog.domain.foreign.ui import is_ui
from turnlog.domain.foreign.values import ForeignFormat
from turnlog.domain.quoting import cut

Message = dict[str, Any]

OWN_FORMATS: dict[ForeignFormat, Callable[[Message], bool]] = {
    "claude_code": is_claude_code,
    "langchain": is_langchain,
    "pydantic_ai": is_pydantic_ai,
    "ui": is_ui,
    "gemini": is_gemini,
    "librechat": is_librechat,
    "claude_ai": is_claude_ai,
    "chatgpt": is_chatgpt,
    "open_webui": is_open_webui,
}
"""The formats whose messages are like nobody else's."""

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", "human", "ai", "model", "bot"})
_PLAIN = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "id"})
"""Fields of messages of which more than one format has each."""
_ITEMS = ("_call", "_call_output", "_output")
_ANTHROPIC = frozenset(
    {"tool_use", "tool_result", "thinking", "redacted_thinking", "image", "document", "search_result"}
)
_COLUMNS = frozenset({"toolcallid", "toolcalls", "functioncall"})
_TOLD = 6
"""Fields and values that a refusal names, at most."""


def detected_format(messages: Sequence[Message]) -> ForeignFormat | None:
    """The format of the messages; None if it is none that is known."""
    for message in messages:
        if message.keys() <= _PLAIN and not isinstance(message.get("content"), list):
            continue  # nearly all are
        for format_, is_one in OWN_FORMATS.items():
            if is_one(message):
                return format_
    if any(map(_is_item, messages)):
        return "responses"
    spoken = [message for message in messages if kind_of(message, "role") in _ROLES]
    if not spoken:
        return None
    if any(map(_is_row, messages)):
        return "rows"
    return "anthropic" if any(map(_has_blocks, spoken)) and not any(map(_is_chats, spoken)) else "chat"


def what_was_seen(messages: Iterable[Any]) -> str:
    """What a refusal says of messages that are of no known format: their fields, roles and types."""
    seen = [message for message in messages if isinstance(message, dict)]
    told = [_listed("keys", (key for message in seen for key in message))]
    told += [
        _listed(f"{field}s", (message[field] for message in seen if field in message))
        for field in ("role", "type", "kind")
    ]
    return "; ".join(part for part in told if part) or "no object with any key"


def _listed(what: str, values: Iterable[Any]) -> str:
    found = list(dict.fromkeys(cut(value, 40) for value in values if isinstance(value, str)))
    more = ", ..." if len(found) > _TOLD else ""
    return f"{what}: {', '.join(found[:_TOLD])}{more}" if found else ""


def _is_item(message: Message) -> bool:
    """Whether it is an item of the Responses API that is no message."""
    kind = message.get("type")
    if not isinstance(kind, str) or ("content" in message and kind not in ("message", "reasoning")):
        return False
    if kind == "message":
        return kind_of(message, "role") in _ROLES
    return kind in ("reasoning", "item_reference", "compaction") or kind.endswith(_ITEMS)


def _is_row(message: Message) -> bool:
    """Whether it is a row of a table: its columns are not spelt as the API has them, or hold JSON as text."""
    names = {column_name(key): key for key in message}
    if any(name in names and "_" not in names[name] for name in _COLUMNS):
        return True
    return isinstance(message.get("tool_calls"), str) or isinstance(message.get("function_call"), str)


def _is_chats(message: Message) -> bool:
    """Whether only Chat Completions has such a message."""
    return message.get("role") in ("tool", "function", "developer") or any(
        message.get(field) is not None for field in ("tool_calls", "function_call", "refusal", "audio")
    )


def _has_blocks(message: Message) -> bool:
    content = message.get("content")
    return any(kind_of(block) in _ANTHROPIC for block in objects(content)) and are_blocks(content)
