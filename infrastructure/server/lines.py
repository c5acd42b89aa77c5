"""Bodies that come as lines while they are written: NDJSON, or the server-sent events of a provider as they came."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from turnlog.domain.errors import LimitExceededError
from turnlog.infrastructure.chunk_lines import chunk_of
from turnlog.infrastructure.server.problems import MEDIA, RefusedError
from turnlog.infrastructure.server.sending import NDJSON, SSE

KINDS = (NDJSON, "application/jsonl", "application/ndjson", SSE)


def check_kind(request: Request) -> None:
    """Raises RefusedError for a body that is not said to be lines."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in KINDS:
        raise RefusedError(MEDIA, f"lines are taken here: {', '.join(KINDS)}")


async def body_lines(request: Request, limit: int) -> AsyncGenerator[bytes]:
    """The lines of the body as they come, without their ends. Raises LimitExceededError for a line of more than `limit`
    bytes, and ConnectionError when the client goes away before its end."""
    lines = Lines(limit)
    try:
        async with aclosing(request.stream()) as pieces:
            async for piece in pieces:
                for line in lines.take(piece):
                    yield line
    except ClientDisconnect:
        raise ConnectionError("the client went away before the end of its stream") from None
    if lines.rest:
        yield lines.rest


class Lines:
    """Lines out of pieces that are cut anywhere. `rest` is what has no end yet."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.rest = b""

    def take(self, piece: bytes) -> list[bytes]:
        """The lines that end in this piece, without their ends. Raises LimitExceededError for one of more than `limit`
        bytes."""
        *lines, self.rest = (self.rest + piece).split(b"\n")
        if len(self.rest) > self._limit or any(len(line) > self._limit for line in lines):
            raise LimitExceededError("body", f"has a line of more than {self._limit:,} bytes", self._limit)
        return lines


async def chunks(lines: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any]]:
    """The chunks of a provider's stream. Raises InvalidInputError for a line that has none and should."""
    number = 0
    async for line in lines:
        number += 1
        if (chunk := chunk_of(line, number)) is not None:
            yield chunk
