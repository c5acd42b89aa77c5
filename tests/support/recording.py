"""Streams as providers send them, and consumers of them: what tests record, and what a user is shown of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from turnlog import Session

SOON = 10.0
"""Seconds within which something happens on any machine."""


def chunk(text: str | None = None, *calls: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    """One chunk of a provider's stream."""
    delta: dict[str, Any] = {"content": text}
    if calls:
        delta["tool_calls"] = list(calls)
    return {"id": "r-1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def fragment(index: int, arguments: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    """A piece of a tool call; the first one of an index has id and name."""
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def text_of(piece: dict[str, Any]) -> str:
    """The text of a chunk."""
    return str(piece["choices"][0]["delta"]["content"])


async def played(*chunks: Any) -> AsyncIterator[Any]:
    """A stream of these chunks."""
    for each in chunks:
        yield each


async def spoken(*texts: str, pause: float = 0.0) -> AsyncIterator[dict[str, Any]]:
    """A stream of these texts, with so many seconds before each."""
    for text in texts:
        await asyncio.sleep(pause)
        yield chunk(text)


async def numbers(
    count: int, read: list[int] | None = None, pause: float | None = None
) -> AsyncIterator[dict[str, Any]]:
    """A stream that counts, as fast as it is read or with so many seconds before each, and notes what was read."""
    for number in range(count):
        if pause is not None:
            await asyncio.sleep(pause)
        if read is not None:
            read.append(number)
        yield chunk(f"{number} ")


class Words:
    """A provider that says words and then nothing more, until it is closed or told to go on."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.is_closed = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        try:
            for word in self.words:
                yield chunk(word)
            await self.goes_on.wait()
            yield chunk("more")
            yield chunk(finish_reason="stop")
        finally:
            self.is_closed.set()


async def show(stream: AsyncIterator[dict[str, Any]], shown: list[str], enough: int = 1_000_000) -> None:
    """A consumer: appends what its user sees to `shown`, and leaves when that is enough."""
    async for piece in stream:
        shown.append(text_of(piece))
        if len(shown) == enough:
            return


async def until_shown(shown: list[str], count: int) -> None:
    """Waits until the user of a consumer has seen so many texts."""
    async with asyncio.timeout(SOON):
        while len(shown) < count:
            await asyncio.sleep(0.005)


async def record(session: Session, stream: AsyncIterator[Any]) -> list[Any]:
    """Records a stream to its end, and returns the chunks that were shown."""
    return [piece async for piece in session.record(stream)]


async def record_texts(session: Session, *texts: str, pause: float = 0.0) -> None:
    """Records a stream of these texts."""
    await record(session, spoken(*texts, pause=pause))
