"""A stream in a file: one chunk as JSON in each line, or server-sent events with a chunk in each `data:` line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO, Any

from turnlog.domain.errors import InvalidInputError

DONE = b"[DONE]"
NO_CHUNK = (b":", b"event:", b"id:", b"retry:")
"""Beginnings of the lines of server-sent events that hold no chunk: comments, and other fields."""


async def paced_chunks(file: IO[bytes], pace: float, advance: Callable[[int], None]) -> AsyncIterator[dict[str, Any]]:
    """The chunks, `pace` seconds apart. `advance` is called with the bytes of each line. Raises InvalidInputError."""
    for size, chunk in chunks(file):
        if pace:
            await asyncio.sleep(pace)
        advance(size)
        yield chunk


def chunks(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each chunk, with the size of its line in bytes. Raises InvalidInputError for a line that is no chunk, with its
    number."""
    # A binary file is split at \n only, while texts may hold other line breaks such as U+2028 and U+0085.
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
    except (ValueError, RecursionError) as error:  # a number may have too many digits
        raise InvalidInputError(where, f"is not JSON: {error}") from error
    if not isinstance(chunk, dict):
        raise InvalidInputError(where, f"is not a JSON object but a {type(chunk).__name__}")
    return chunk
