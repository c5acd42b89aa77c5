"""Polling: looks at what is watched from time to time, seldom while notices come and often while they do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from turnlog.infrastructure.tasks import cancel_and_wait, spawned

SAFETY_SECONDS = 1.0
"""Seconds between two looks at everything while notices come."""
FIRST_PAUSE, LAST_PAUSE = 0.1, 0.25
"""Seconds between two looks while they do not. The pause grows as long as nothing is found."""


class Listens(Protocol):
    """What hears of notices, between `start` and `stop`."""

    @property
    def hears(self) -> bool:
        """Whether notices come. While they do not, only polling finds what is new."""

    def start(self) -> None:
        """Begins to listen, unless it does already."""

    async def stop(self) -> None:
        """Ends it."""


class PollLoop:
    """Calls `look` with all ids from time to time, as long as there are any, and listens to notices meanwhile.

    `has_found` is set by whoever finds something: the next pause is the shortest one.
    """

    def __init__(self, ids: Collection[bytes], look: Callable[[Iterable[bytes]], None]) -> None:
        self.listener: Listens | None = None
        self.has_found = False
        self._ids = ids
        self._look = look
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the loop, unless it runs. It ends by itself when there are no ids."""
        if self._task is None:
            self._task = spawned(self._run(), "looking from time to time")

    async def stop(self) -> None:
        """Ends the loop."""
        await cancel_and_wait(self._task)

    def look_at_all(self) -> None:
        """Calls `look` with all ids, now."""
        self._look(list(self._ids))

    async def _run(self) -> None:
        if self.listener is not None:
            self.listener.start()
        try:
            pause = FIRST_PAUSE
            while self._ids:
                pause = FIRST_PAUSE if self.has_found else min(1.5 * pause, LAST_PAUSE)
                self.has_found = False
                is_told = self.listener is not None and self.listener.hears
                await asyncio.sleep(SAFETY_SECONDS if is_told else pause)
                self.look_at_all()
        finally:
            self._task = None
            if self.listener is not None:
                await self.listener.stop()
