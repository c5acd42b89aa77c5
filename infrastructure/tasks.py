"""Tasks of an open log: work that nobody waits for, work that several callers wait for, and how tasks are ended.

Every task is made here (the linter sees to it), so that no exception stays in one unseen: it is logged, or it is for
whoever awaits the task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

logger = logging.getLogger("turnlog")

Key = TypeVar("Key")
T = TypeVar("T")
Item = TypeVar("Item")


async def off_loop(is_large: bool, work: Callable[..., T], *args: Any) -> T:
    """What the function returns: called here, or on a thread if what it works on is large."""
    return await asyncio.to_thread(work, *args) if is_large else work(*args)


async def fed(pages: AsyncIterator[Sequence[Item]], work: Callable[[Iterator[Item]], T]) -> T:
    """What the function returns, which is called on a thread with all items. Only one page of them is held: each is
    read, on this loop, when the function has come so far."""
    loop, is_over = asyncio.get_running_loop(), False

    async def following() -> Sequence[Item] | None:
        return None if is_over else await anext(pages, None)

    def items() -> Iterator[Item]:
        while page := asyncio.run_coroutine_threadsafe(following(), loop).result():
            yield from page

    try:
        return await asyncio.to_thread(lambda: work(items()))
    finally:
        is_over = True  # where the caller is cancelled, nothing more is read


def started(work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
    """A task for somebody who awaits it. What it raises is theirs, and is dropped if they have gone."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_seen)
    return task


def spawned(work: Coroutine[Any, Any, None], doing: str) -> asyncio.Task[None]:
    """A task that nobody awaits. What it raises is logged, with what it was `doing`."""
    task = asyncio.create_task(work)

    def ended(task: asyncio.Task[None]) -> None:
        if (error := _seen(task)) is not None:
            logger.error("%s has ended: %s", doing, error, exc_info=error)

    task.add_done_callback(ended)
    return task


def _seen(task: asyncio.Task[Any]) -> BaseException | None:
    """What an ended task has raised, which counts as seen from now on."""
    return None if task.cancelled() else task.exception()


class Background:
    """Tasks that no caller waits for. What they raise is logged: the next reader does their work again."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts the work."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Waits for all tasks."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if (error := _seen(task)) is not None:
            logger.warning("background work failed: %s", error)


class Shared(Generic[Key, T]):
    """One task for all callers that want the same thing at the same time. It goes on when the first of them is
    cancelled."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[T]] = {}

    async def run(self, key: Key, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The outcome of the task for this key, which is started if there is none. Raises what the work raises."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = started(work())  # all who waited may have been cancelled
            task.add_done_callback(lambda _: self._tasks.pop(key))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Waits for all tasks."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())


class Drain:
    """One task that works while something is gathered. What is added meanwhile is for its next round.

    `work` takes what it can do at once out of `gathered`.
    """

    def __init__(self, gathered: Sized, work: Callable[[], Awaitable[None]]) -> None:
        self._gathered = gathered
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the task, if there is something to do and it does not run."""
        if self._gathered and self._task is None:
            self._task = spawned(self._run(), "work on what is gathered")

    async def close(self) -> None:
        """Waits until nothing is left to do."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._gathered:
                await self._work()
        finally:
            self._task = None


async def cancel_and_wait(task: asyncio.Task[Any] | None, again_after: float | None = None) -> None:
    """Cancels a task and waits until it has ended; what it raises is dropped. None is ended already.

    `again_after`: seconds after which a task that still runs is cancelled once more, for code that can lose a
    cancellation.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=again_after)
