"""Foreign messages: what one message of another system's history says, in a normal form. Pure, and total.

A message is read as far as possible. What does not fit is reported as a flaw; nothing raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnlog.domain.foreign.chatgpt import read_chatgpt
from turnlog.domain.foreign.claude_ai import read_claude_ai
from turnlog.domain.foreign.claude_code import read_claude_code
from turnlog.domain.foreign.detect import detected_format, what_was_seen
from turnlog.domain.foreign.documents import OWN_PARTS
from turnlog.domain.foreign.exports import (
    Branch,
    ForeignConversation,
    conversation_of,
    conversations_in,
    only_conversation,
)
from turnlog.domain.foreign.findings import Findings
from turnlog.domain.foreign.gemini import read_gemini
from turnlog.domain.foreign.items import read_item
from turnlog.domain.foreign.langchain import read_langchain
from turnlog.domain.foreign.librechat import read_librechat
from turnlog.domain.foreign.media import is_block, is_readable_part, normal_part, portable
from turnlog.domain.foreign.messages import read_message
from turnlog.domain.foreign.open_webui import read_open_webui
from turnlog.domain.foreign.pydantic_ai import read_pydantic_ai
from turnlog.domain.foreign.rows import read_row
from turnlog.domain.foreign.times import TIME_COLUMNS, column_name, model_of, time_of
from turnlog.domain.foreign.ui import read_ui
from turnlog.domain.foreign.values import (
    OWN_BLOCK,
    ForeignCall,
    ForeignContent,
    ForeignFormat,
    ForeignMessage,
    ForeignResult,
    ForeignRole,
    Parts,
    Reading,
    api_of,
)

__all__ = [
    "IN_PIECES",
    "NAMELESS",
    "OWN_BLOCK",
    "OWN_PARTS",
    "TIME_COLUMNS",
    "Branch",
    "ForeignCall",
    "ForeignContent",
    "ForeignConversation",
    "ForeignFormat",
    "ForeignMessage",
    "ForeignResult",
    "ForeignRole",
    "Parts",
    "Reading",
    "api_of",
    "column_name",
    "conversation_of",
    "conversations_in",
    "detected_format",
    "is_block",
    "is_readable_part",
    "normal_part",
    "only_conversation",
    "portable",
    "read_foreign",
    "what_was_seen",
]

_READERS: dict[ForeignFormat, Callable[[Findings, dict[str, Any]], None]] = {
    "chat": read_message,
    "anthropic": read_message,
    "responses": read_item,
    "rows": read_row,
    "chatgpt": read_chatgpt,
    "claude_ai": read_claude_ai,
    "claude_code": read_claude_code,
    "librechat": read_librechat,
    "open_webui": read_open_webui,
    "ui": read_ui,
    "langchain": read_langchain,
    "pydantic_ai": read_pydantic_ai,
    "gemini": read_gemini,
}

IN_PIECES: frozenset[ForeignFormat | None] = frozenset({"responses", "claude_code", "chatgpt"})
"""Formats in which one response is several messages: those beside each other belong together."""
NAMELESS: frozenset[ForeignFormat | None] = frozenset({"gemini", "claude_ai", "chatgpt"})
"""Formats whose calls need no ids: a result is for the call of its name, or for the one before it."""


def read_foreign(format: ForeignFormat, message: dict[str, Any]) -> Reading:  # noqa: A002 the field's name
    """Reads one message of a history in this format."""
    found = Findings(format)
    _READERS[format](found, message)
    return found.reading(time_of(message), model_of(message))
