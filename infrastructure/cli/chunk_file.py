"""A stream in a file: one chunk as JSON in each line, or server-sent events with a chunk in each `data:` line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import IO, Any

from turnlog.infrastructure.chunk_lines import chunk_of


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
        if (chunk := chunk_of(line, number)) is not None:
            yield len(line), chunk
