"""Looking at what is watched from time to time: seldom while notices come, often while they do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from turnlog.infrastructure.channels import Listener

SAFETY_SECONDS = 1.0
"""So often everything is looked at while notices come."""
FIRST_PAUSE, LAST_PAUSE = 0.1, 0.25
"""So often while they do not; longer each time that nothing was found."""


class PollLoop:
    """Calls `look` with all ids from time to time, as long as there are any, and listens meanwhile."""

    def __init__(self, ids: Collection[bytes], look: Callable[[Iterable[bytes]], None]) -> None:
        self.listener: Listener | None = None
        self.has_found = False
        self._ids = ids
        self._look = look
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """There is something to look at."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def look_at_all(self) -> None:
        """Looks at everything now."""
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
