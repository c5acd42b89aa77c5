"""Bringing projections up to the head of the log, and how far they are from it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import NamedTuple

from eventsourcing.persistence import ProgrammingError
from psycopg.errors import UndefinedTable

from turnlog.domain.errors import UnreadableEventError
from turnlog.infrastructure.store.feed import read_batch
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.statements import LOCK_TIMEOUT_MS
from turnlog.infrastructure.store.store import EventStore
from turnlog.infrastructure.tables.projection import Progress, Projection
from turnlog.infrastructure.tables.projection_tables import ProjectionTables

PAUSE_SECONDS = 0.01
"""Seconds between two looks at whether an append has ended."""


class Lag(NamedTuple):
    """How far a projection lags the log. `events_behind` counts events of any kind; `waiting_since` is the time of the
    next event that it has not seen."""

    name: str
    position: int
    events_behind: int
    waiting_since: datetime | None


async def catch_up(store: EventStore, projection: Projection, progress: Progress | None = None) -> int:
    """Brings a projection to the present end of the log. Returns its log position. Workers and other callers may do the
    same at the same time. Raises ProjectionError and StoreError."""
    tables = await open_tables(store, projection)
    return await advance(store, tables, await _settled_end(store), progress)


async def _settled_end(store: EventStore) -> int:
    """A head of the log that includes all that was appended before the call, also the caller's own last event.

    It waits for the appends that are under way. Each takes milliseconds, and Postgres ends it after LOCK_TIMEOUT_MS. If
    one takes longer all the same, the head is returned as it is.
    """
    end = await store.run(store.recorder.log_end)
    deadline = time.monotonic() + LOCK_TIMEOUT_MS / 1000
    while True:
        head = await store.run(store.recorder.log_head)
        if head >= end or time.monotonic() > deadline:
            return head
        await asyncio.sleep(PAUSE_SECONDS)


async def open_tables(store: EventStore, projection: Projection) -> ProjectionTables:
    """The projection's tables. They are created if they are missing."""
    tables = ProjectionTables(store.recorder.datastore, projection, store.mapper)
    await store.run(tables.create_table)
    return tables


async def advance(store: EventStore, tables: ProjectionTables, upto: int, progress: Progress | None = None) -> int:
    """Brings the tables to a log position, one transaction for each batch. Returns the position that they reach."""
    position = await store.run(lambda: tables.position)
    while position < upto:
        position = await store.run(process_next, store.recorder, tables, upto)
        if progress is not None:
            progress(position, upto)
    return position


def process_next(recorder: BatchRecorder, tables: ProjectionTables, upto: int) -> int:
    """Reads and applies the next batch. Returns the new position. It can be repeated, because it begins at the position
    of the tables."""
    return tables.process(read_batch(recorder, tables.position, tables.topics, upto))


def read_lags(recorder: BatchRecorder, mapper: EventMapper) -> list[Lag]:
    """The lag of each projection that was ever run, in the order of their names."""
    try:
        rows = recorder.fetch("lags")
    except ProgrammingError as error:
        if isinstance(error.__cause__, UndefinedTable):
            return []
        raise
    return [
        Lag(name, position, max(0, head - position), _at(mapper, topic, state))
        for name, position, head, topic, state in rows
    ]


def _at(mapper: EventMapper, topic: str | None, state: bytes | None) -> datetime | None:
    if topic is None or state is None:
        return None
    try:
        return mapper.event(topic, state).at
    except UnreadableEventError:
        return None
