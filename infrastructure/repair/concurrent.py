"""Concurrent work on many sessions, in bounded memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from turnlog.infrastructure.tasks import started

T = TypeVar("T")

CONCURRENT_SESSIONS = 16
"""Sessions that are worked on at once: enough to share commits, and few enough for connections and memory."""

_END = object()


async def each(
    items: AsyncIterator[T], work: Callable[[T], Awaitable[None]], at_once: int = CONCURRENT_SESSIONS
) -> None:
    """Does the work on every item, `at_once` items at a time, beginning in their order. An exception ends all work."""
    next_one = asyncio.Lock()

    async def worker() -> None:
        while True:
            async with next_one:
                item = await anext(items, _END)
            if item is _END:
                return
            await work(item)  # type: ignore[arg-type]  # it is not _END

    workers = [started(worker()) for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def read_aside(items: Iterator[T], at_once: int = CONCURRENT_SESSIONS) -> AsyncIterator[T]:
    """The items, read in a thread, so that a file or another database does not hold up the event loop. Raises what
    reading raises.

    Nobody waits for the thread: when the program ends, it may still hang in a pipe or a query.
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
        except Exception as error:  # noqa: BLE001 it is raised to the consumer of the items
            ended = _Raised(error)
        with suppress(RuntimeError):  # the event loop has ended
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
