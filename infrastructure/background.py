"""Work beside that of callers: what nobody waits for until the log is closed, and what several wait for at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

logger = logging.getLogger("turnlog")

Key = TypeVar("Key")
T = TypeVar("T")


class Background:
    """Tasks of one log. What they raise is logged: their work is a convenience that the next reader does again."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts the work."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Waits for all that was started."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("background work failed: %s", error)


class Shared(Generic[Key, T]):
    """One piece of work for all who want the same at the same time. It goes on when whoever began it is cancelled."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[T]] = {}

    async def run(self, key: Key, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The outcome of the work that is under way for this key, or else is begun."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Waits for all that was begun."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    def _ended(self, key: Key, task: asyncio.Task[T]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # whoever waited may be gone
