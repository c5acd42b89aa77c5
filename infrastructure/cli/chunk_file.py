"""A recorded stream in a file: one chunk a line, as JSON, or a file of server-sent events with a chunk in each
`data:` line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO, Any

from turnlog.domain.errors import InvalidInputError

DONE = b"[DONE]"
NO_CHUNK = (b":", b"event:", b"id:", b"retry:")
"""How lines of server-sent events begin that hold no chunk: comments, and the other fields."""


async def paced_chunks(file: IO[bytes], pace: float, advance: Callable[[int], None]) -> AsyncIterator[dict[str, Any]]:
    """The chunks, `pace` seconds apart; `advance` is told the bytes read. Raises InvalidInputError, as `chunks`."""
    for size, chunk in chunks(file):
        if pace:
            await asyncio.sleep(pace)
        advance(size)
        yield chunk


def chunks(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The size of each line and its chunk. Raises InvalidInputError that names the line that is not one."""
    # A file in binary mode is cut at \n only: texts hold U+2028 and U+0085 as they are.
    for number, line in enumerate(file, 1):
        if line.startswith(NO_CHUNK):
            continue
        payload = line.removeprefix(b"data:").strip()
        if payload and payload != DONE:
            yield len(line), _chunk(payload, f"line {number}")


def _chunk(payload: bytes, where: str) -> dict[str, Any]:
    try:
        chunk = json.loads(payload)
    except json.JSONDecodeError as error:
        raise InvalidInputError(where, f"is not JSON: {error.msg} at column {error.colno}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(where, f"is not JSON: {error}") from error
    if not isinstance(chunk, dict):
        raise InvalidInputError(where, f"is not a JSON object but a {type(chunk).__name__}")
    return chunk
