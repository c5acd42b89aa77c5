"""The time of commands: the domain reads no clock, so every command carries its time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


def now() -> datetime:
    """The time now (UTC)."""
    return datetime.now(UTC)


class Clock:
    """`now`, read once in each turn of the event loop. All that is decided in one turn happens at the same time, so the
    events of hundreds of streams share one reading and its text."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._at: datetime | None = None

    def now(self) -> datetime:
        """The time of this turn of the event loop (UTC)."""
        if self._at is None:
            self._at = now()
            self._loop.call_soon(self._forget)
        return self._at

    def _forget(self) -> None:
        self._at = None
