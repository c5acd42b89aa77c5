"""Projections over the whole log: work for them, workers, and where they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

from tests.support.database import rows
from turnlog import Projection, SessionLog, Settings


def position(settings: Settings, name: str) -> int:
    """The log position of a projection; -1 where there is none yet."""
    statement = f"select notification_id from turnlog_tracking where application_name = '{name}'"
    with suppress(psycopg.errors.UndefinedTable):
        return int((rows(settings, statement) or [(-1,)])[0][0])
    return -1


async def until_at(settings: Settings, name: str, wanted: int) -> None:
    """Waits until a projection has come so far."""
    async with asyncio.timeout(30):
        while await asyncio.to_thread(position, settings, name) < wanted:
            await asyncio.sleep(0.02)


def check_counted(settings: Settings) -> None:
    """Every event of the log was counted once."""
    counted = rows(settings, "select session_id, events, sum from turnlog_projection_counting order by 1")
    there = rows(
        settings, "select originator_id, count(*), sum(originator_version) from turnlog_events group by 1 order by 1"
    )
    assert counted == there
    assert counted


async def converse_here(log: SessionLog, sessions: int, steps: int, deltas: int) -> None:
    """Answers in new sessions of the user u1, all at once."""

    async def one() -> None:
        session = await log.start_session("u1")
        for _ in range(steps):
            async with session.completion(model="m") as completion:
                for number in range(deltas):
                    await completion.text(f"{number} ")
                await completion.finish("stop", usage={"prompt_tokens": 7, "completion_tokens": deltas})

    await asyncio.gather(*(one() for _ in range(sessions)))


@asynccontextmanager
async def working(log: SessionLog, projection: Projection) -> AsyncIterator[None]:
    """A worker keeps the projection up meanwhile."""
    worker = log.projections.worker(projection)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running
