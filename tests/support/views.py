"""Views as they are kept and cached, and what reading them costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from turnlog import Session, SessionLog
from turnlog.infrastructure.read.views import Origin
from turnlog.projections.projector import Projector
from turnlog.projections.stored_state import StoredState


async def settled(log: SessionLog) -> None:
    """Waits for what was being kept."""
    await log._parts.background.close()


def key(log: SessionLog, session: Session) -> str:
    """The key of the session's view in Redis."""
    return log._parts.views.key(session.id)


async def put_in_cache(log: SessionLog, projector: Projector, origin: Origin) -> None:
    """Puts into Redis what a process that has folded this would."""
    await log._parts.views._cache_view(projector, origin)


async def longer_turn(session: Session, number: int) -> None:
    """A turn of a dozen events whose result is pending, and a look at it."""
    await session.say(f"question {number}")
    async with session.completion() as completion:
        for _ in range(10):
            await completion.text("word ")
        await completion.tool_call(f"c{number}", "find", "{}")
        await completion.finish("tool_calls")
    await session.add_tool_result(f"c{number}", "pending", status="pending")
    await session.view()


@contextmanager
def events_read(log: SessionLog) -> Iterator[list[int]]:
    """Counts the events that the store hands out."""
    store, counts = log._parts.store, list[int]()
    read, fold, evolve = store.events._read, store.events._fold, store.events._evolve

    def reading(*args: Any) -> list[Any]:
        events = read(*args)
        counts.append(len(events))
        return events

    def folding(*args: Any) -> int:
        counts.append(fold(*args) or 0)
        return counts[-1]

    def evolving(stored: StoredState) -> tuple[StoredState, bool] | None:
        further = evolve(stored)
        if further is not None:
            counts.append(further[0].version - stored.version)
        return further

    store.events._read, store.events._fold = reading, folding  # type: ignore[method-assign]
    store.events._evolve = evolving  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        store.events._read, store.events._fold = read, fold  # type: ignore[method-assign]
        store.events._evolve = evolve  # type: ignore[method-assign]
