"""The time of commands: the domain reads no clock, so every command carries its time.

It is the time of the database, and not that of the machine: the days of usage and the order of lists are the same from
whatever machine an event comes. The database is asked when a log is opened, and now and then. In between time goes on
by a clock that nobody sets. A process with logs in several databases has the time of the one that it has asked last.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

_base: tuple[datetime, float] | None = None
"""A time of the database, and the reading of the monotonic clock at that time."""


def now() -> datetime:
    """The time now (UTC)."""
    if _base is None:
        return datetime.now(UTC)
    at, reading = _base
    return at + timedelta(seconds=time.monotonic() - reading)


def set_clock(at: datetime, asked: float, answered: float) -> None:
    """Sets the clock by a server that said `at` between these two readings of `time.monotonic`."""
    global _base  # noqa: PLW0603 a process has one time
    _base = (at.astimezone(UTC), (asked + answered) / 2)


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
