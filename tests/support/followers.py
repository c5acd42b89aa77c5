"""Followers of a session, and what they have seen."""

from __future__ import annotations

import asyncio

from turnlog import Following, RecordedEvent, Session, SessionLog

SOON = 10.0


async def to_the_end(session: Session, after: int = 0) -> list[RecordedEvent]:
    """What a follower sees until the turn ends."""
    async with asyncio.timeout(SOON):
        return [event async for event in session.follow(after, until_turn_ends=True)]


async def some(following: Following, count: int) -> list[RecordedEvent]:
    """The next events."""
    async with asyncio.timeout(SOON):
        return [await anext(following) for _ in range(count)]


async def followed(log: SessionLog, count: int = 1) -> None:
    """Waits until this log follows a session with so many followers, and hears of it."""
    async with asyncio.timeout(SOON):
        while sum(len(source.cursors) for source in log._parts.watcher._sources.values()) < count:
            await asyncio.sleep(0.01)
        listener = log._parts.watcher._poll_loops["notices"].listener
        while listener is not None and not listener.hears:
            await asyncio.sleep(0.01)
