"""Rebuilding a projection. New tables are filled from the first event on, and replace the old ones in one transaction
once they have caught up. Until then readers read the old tables. Writers are not held up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eventsourcing.persistence import OperationalError, ProgrammingError
from psycopg import Connection, Cursor
from psycopg.errors import LockNotAvailable
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from turnlog.domain.errors import ProjectionError
from turnlog.infrastructure.store import locks
from turnlog.infrastructure.store.feed import read_batch
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.refusals import in_short, is_forbidden
from turnlog.infrastructure.store.store import EventStore
from turnlog.infrastructure.tables.catching_up import advance, open_tables
from turnlog.infrastructure.tables.projection import REBUILT, TABLE_PREFIX, Progress, Projection
from turnlog.infrastructure.tables.projection_tables import ProjectionTables

LOCK_MS = 300
"""Milliseconds that the switch waits for readers: less than `deadlock_timeout`, so that no reader is ever the
victim."""
SWITCH_SECONDS = 60.0
"""Seconds for which it goes on trying."""
SHORT_SECONDS = 0.3
"""The switch is tried once a round of filling took less than this."""


async def rebuild(store: EventStore, projection: Projection, progress: Progress | None = None) -> int:
    """Rebuilds the projection. Returns the log position that the new tables have reached.

    When it is interrupted, even by SIGKILL, the old tables are as they were, and the next rebuild clears away what
    was half made. Raises ProjectionError, also while another process rebuilds the same projection, and StoreError.
    """
    old = await open_tables(store, projection)
    new = ProjectionTables(store.recorder.datastore, projection, store.mapper, suffix=REBUILT)
    async with _alone(store, old):
        await store.run(_begin, new)
        await _fill(store, old, new, progress)
        return await _switch(store, old, new, progress)


@asynccontextmanager
async def _alone(store: EventStore, tables: ProjectionTables) -> AsyncIterator[None]:
    """Holds a lock in a transaction of its own, which ends with its connection, and so with the process."""
    connection = await store.connect()
    try:
        if not await asyncio.to_thread(_take, connection, tables):
            raise ProjectionError(tables.name, "another process is rebuilding it")
        yield
    finally:
        await asyncio.to_thread(connection.close)


def _take(connection: Connection[DictRow], tables: ProjectionTables) -> bool:
    cursor = connection.cursor()
    locks.stay(cursor)
    return locks.try_rebuild(cursor, tables.datastore.schema, tables.name)


def _begin(new: ProjectionTables) -> None:
    with new.datastore.transaction(commit=True) as cursor:
        cursor.execute("set local client_min_messages = warning")
        new.drop_tables(cursor)  # of a rebuild that was interrupted
        new.create_within(cursor)


async def _fill(store: EventStore, old: ProjectionTables, new: ProjectionTables, progress: Progress | None) -> None:
    """Fills the new tables, round after round, until a round is short. What came during that one fits into the
    switch."""
    took = SHORT_SECONDS
    while took >= SHORT_SECONDS:
        began = time.monotonic()
        head = await store.run(lambda: max(old.position, store.recorder.log_head()))
        await advance(store, new, head, progress)
        took = time.monotonic() - began


async def _switch(store: EventStore, old: ProjectionTables, new: ProjectionTables, progress: Progress | None) -> int:
    deadline = time.monotonic() + SWITCH_SECONDS
    while True:
        try:
            return await store.run(_try_to_switch, store.recorder, old, new)
        except _HeldByReaderError as error:
            if time.monotonic() > deadline:
                raise ProjectionError(old.name, "the old tables are in use, and cannot be replaced") from error
            await asyncio.sleep(LOCK_MS / 1000)
            await _fill(store, old, new, progress)


def _try_to_switch(recorder: BatchRecorder, old: ProjectionTables, new: ProjectionTables) -> int:
    """Applies what is left and replaces the old tables with the new ones, in one transaction."""
    try:
        with old.datastore.transaction(commit=True) as cursor:
            cursor.execute(SQL("set local lock_timeout = {}").format(LOCK_MS))
            live = old.lock(cursor) or 0  # from here on a worker waits, and then goes on with the new tables
            # The projection must not go back: the new tables have all that the old ones have.
            upto = max(live, recorder.log_head())
            while (batch := read_batch(recorder, new.lock(cursor) or 0, new.topics, upto)).id > batch.after:
                new.process_within(cursor, batch)
            _rename(cursor, old, new)
            old.set_position(cursor, upto)
            return upto
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise _HeldByReaderError from error
        raise
    except ProgrammingError as error:  # for example a view on one of the old tables
        if is_forbidden(error):
            raise
        raise ProjectionError(old.name, f"the old tables cannot be replaced: {in_short(error)}") from error


def _rename(cursor: Cursor[DictRow], old: ProjectionTables, new: ProjectionTables) -> None:
    old.drop_tables(cursor)
    for name, table in new.tables.items():
        cursor.execute(SQL("alter table {} rename to {}").format(table, Identifier(TABLE_PREFIX + name)))
    new.forget_position(cursor)


class _HeldByReaderError(Exception):
    """The switch did not get its locks in time."""
