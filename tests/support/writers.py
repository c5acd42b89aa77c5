"""Writers of steps: some that keep one open, and some that die with it."""

from __future__ import annotations

import asyncio

from turnlog import Session, SessionLog
from turnlog.infrastructure.append.completion import Completion

BRIEF = 0.6
"""Seconds of a lease: long enough to be renewed on a busy machine, short enough to wait for."""


async def begun(session: Session, *texts: str) -> Completion:
    """A step that is open; whoever keeps it writes it."""
    completion = await session.completion().__aenter__()
    for text in texts:
        await completion.text(text)
    return completion


async def die(log: SessionLog) -> None:
    """What a kill does to a writer: it is not heard of again, and its steps stay open."""
    lease = log._parts.lease
    lease._live.clear()
    lease._unended.clear()
    if lease._keeping is not None:
        lease._keeping.cancel()
        await asyncio.wait([lease._keeping])
