"""A timer for deadlines, of which hardly any is ever reached."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Alarm:
    """Calls `ring` once, at the time that it was set to last.

    To set it for each statement costs next to nothing. The loop has one timer for many settings; when that is due, it
    looks what the alarm is set to by then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self.time = math.inf
        """When it rings, by the clock of the loop. Infinity: never."""

    def set(self, time: float) -> None:
        """Rings at this time, and not at another one."""
        self.time = time
        if self._timer is None or time < self._timer.when():
            self._forget_timer()
            self._timer = self._loop.call_at(time, self._due)

    def clear(self) -> None:
        """Does not ring."""
        self.time = math.inf

    def stop(self) -> None:
        """Does not ring, and leaves nothing in the loop."""
        self.clear()
        self._forget_timer()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        time, self._timer = self.time, None
        if time <= self._loop.time():
            self.clear()
            self._ring()
        elif time < math.inf:
            self.set(time)
