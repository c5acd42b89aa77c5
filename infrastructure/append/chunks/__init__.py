"""Reading the streams of providers: what a chunk says, as commands. One module knows the chunks of one API.

Which API it is, the first chunk says. Only this room knows the shapes of vendors.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from turnlog.infrastructure.append.chunks.chat import ChatReader
from turnlog.infrastructure.append.chunks.reader import StreamReader

__all__ = ["ChatReader", "StreamReader", "reader_for"]


def reader_for(chunk: Any, step_id: str, now: Callable[[], datetime]) -> StreamReader:  # noqa: ARG001 all are of one API
    """The reader of the stream that begins with this chunk. `now` gives the time of each command."""
    return ChatReader(step_id, now)
