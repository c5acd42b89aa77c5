"""Work on many sessions, several at once, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 16
"""So many are under way: enough for commits to be shared, few enough for connections and memory."""

_END = object()


async def each(items: AsyncIterator[T], work: Callable[[T], Awaitable[None]], at_once: int = AT_ONCE) -> None:
    """Does the work on every item; it begins in their order. What the work raises ends all of it."""
    next_one = asyncio.Lock()

    async def worker() -> None:
        while True:
            async with next_one:
                item = await anext(items, _END)
            if item is _END:
                return
            await work(item)  # type: ignore[arg-type]  # it is not _END

    workers = [asyncio.create_task(worker()) for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def read_aside(items: Iterator[T], at_once: int = AT_ONCE) -> AsyncIterator[T]:
    """The items, read in a thread, for a file or another database would hold up all that is under way."""

    def read() -> list[T]:
        return list(islice(items, at_once))

    while page := await asyncio.to_thread(read):
        for item in page:
            yield item
