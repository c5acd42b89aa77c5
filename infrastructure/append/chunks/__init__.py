"""Reading the streams of providers: what a chunk says, as commands. One module knows the chunks of one API.

Which API it is, the first chunk says. Only this room knows the shapes of vendors.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from turnlog.infrastructure.append.chunks import anthropic
from turnlog.infrastructure.append.chunks.anthropic import AnthropicReader
from turnlog.infrastructure.append.chunks.chat import ChatReader
from turnlog.infrastructure.append.chunks.fields import fields_of
from turnlog.infrastructure.append.chunks.reader import StreamReader
from turnlog.infrastructure.append.chunks.responses import ResponsesReader

__all__ = ["AnthropicReader", "ChatReader", "ResponsesReader", "StreamReader", "reader_for"]


def reader_for(chunk: Any, step_id: str, now: Callable[[], datetime]) -> StreamReader:
    """The reader of the stream that begins with this chunk. `now` gives the time of each command."""
    return _kind_of(chunk)(step_id, now)


def _kind_of(chunk: Any) -> type[StreamReader]:
    try:
        fields = fields_of(chunk)
        kind, error = fields.get("type"), fields.get("error")
        if kind == "error" and (error is None or fields.get("sequence_number") is not None):
            return ResponsesReader
    except Exception:  # noqa: BLE001 it is read again, and then what is wrong is said
        return ChatReader
    if isinstance(kind, str) and kind.startswith("response."):
        return ResponsesReader
    return AnthropicReader if kind == "error" or kind in anthropic.EVENTS else ChatReader
