"""What a provider sends, read while it passes: the chunks that are in each piece, and whether the answer ends there."""

from __future__ import annotations

import json
from typing import Any, Protocol

from turnlog.domain.errors import InvalidInputError, LimitExceededError
from turnlog.infrastructure.append.chunks.whole import chunks_of
from turnlog.infrastructure.chunk_lines import DONE, chunk_of
from turnlog.infrastructure.server.lines import Lines

_LAST_EVENTS = ("message_stop", "response.completed", "response.failed", "response.incomplete")

Chunks = list[dict[str, Any]]


class PieceReader(Protocol):
    """Reads the pieces of one answer. `is_stream`: its pieces say something by themselves. `has_ended`: the client may
    take the answer for whole now. Both methods raise InvalidInputError for what is no answer."""

    is_stream: bool
    has_ended: bool

    def take(self, piece: bytes) -> Chunks:
        """The chunks that are whole with this piece."""
        ...

    def rest(self) -> Chunks:
        """The chunks that are whole only because nothing more comes."""
        ...


class StreamPieces:
    """Server-sent events, in pieces that are cut anywhere. A line has at most `limit` bytes."""

    is_stream = True

    def __init__(self, limit: int) -> None:
        self.has_ended = False
        self._lines = Lines(limit)
        self._number = 0

    def take(self, piece: bytes) -> Chunks:
        """See PieceReader."""
        chunks = Chunks()
        for line in self._lines.take(piece):
            self._number += 1
            self._read(line, chunks)
        return chunks

    def rest(self) -> Chunks:
        """See PieceReader."""
        chunks = Chunks()
        self._read(self._lines.rest, chunks)
        return chunks

    def _read(self, line: bytes, chunks: Chunks) -> None:
        chunk = chunk_of(line, self._number)
        if chunk is not None:
            self.has_ended = self.has_ended or chunk.get("type") in _LAST_EVENTS
            chunks.append(chunk)
        elif line.endswith((DONE, DONE + b"\r")):
            self.has_ended = True


class WholeAnswer:
    """An answer in one, of at most `limit` bytes."""

    is_stream = False

    def __init__(self, limit: int) -> None:
        self.has_ended = True
        self._limit = limit
        self._read = bytearray()

    def take(self, piece: bytes) -> Chunks:
        """See PieceReader."""
        self._read += piece
        if len(self._read) > self._limit:
            raise LimitExceededError("answer", f"has more than {self._limit:,} bytes", self._limit)
        return []

    def rest(self) -> Chunks:
        """See PieceReader."""
        try:
            return list(chunks_of(json.loads(bytes(self._read))))
        except RecursionError:
            raise InvalidInputError("answer", "is nested too deep") from None
        except InvalidInputError:
            raise
        except ValueError as error:
            raise InvalidInputError("answer", f"is not JSON: {error}") from None


def reader_of(content_type: str, content_encoding: str, limit: int) -> PieceReader:
    """What reads an answer of this type. Raises InvalidInputError for one that is compressed."""
    if content_encoding.strip().lower() not in ("", "identity"):
        raise InvalidInputError("answer", f"is compressed ({content_encoding[:40]}), although it was asked not to be")
    return StreamPieces(limit) if content_type.partition(";")[0].strip() == "text/event-stream" else WholeAnswer(limit)
