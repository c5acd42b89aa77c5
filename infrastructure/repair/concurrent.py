"""Work on many sessions, several at once, in bounded memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

CONCURRENT_SESSIONS = 16
"""So many are under way: enough for commits to be shared, few enough for connections and memory."""

_END = object()


async def each(
    items: AsyncIterator[T], work: Callable[[T], Awaitable[None]], at_once: int = CONCURRENT_SESSIONS
) -> None:
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


async def read_aside(items: Iterator[T], at_once: int = CONCURRENT_SESSIONS) -> AsyncIterator[T]:
    """The items, read in a thread, for a file or another database would hold up all that is under way. Raises what
    reading raises.

    The thread is nobody's to wait for: it may hang in a pipe or a query for as long as it likes when the program ends.
    """
    loop, came, room = asyncio.get_running_loop(), asyncio.Queue[Any](), threading.Semaphore(at_once)
    is_wanted = True

    def read() -> None:
        ended: object = _END
        try:
            for item in items:
                room.acquire()
                if not is_wanted:
                    return
                loop.call_soon_threadsafe(came.put_nowait, item)
        except Exception as error:  # noqa: BLE001 it is raised where the items are wanted
            ended = _Raised(error)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(came.put_nowait, ended)

    threading.Thread(target=read, daemon=True, name="turnlog-reading").start()
    try:
        while (item := await came.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            room.release()
            yield item
    finally:
        is_wanted = False
        room.release()


@dataclass(frozen=True, slots=True)
class _Raised:
    error: Exception
