"""A projection's tables and its position, which change in one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import LiteralString

import psycopg
from eventsourcing.persistence import OperationalError, ProgrammingError, Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from turnlog.domain.errors import ProjectionError
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.store import locks
from turnlog.infrastructure.store.feed import LogBatch
from turnlog.infrastructure.store.mapper import UPCASTERS, EventMapper
from turnlog.infrastructure.store.refusals import in_short
from turnlog.infrastructure.store.rows import EventRow
from turnlog.infrastructure.tables.projection import TABLE_PREFIX, Projection, table_names

TRACKING_TABLE = "turnlog_tracking"
"""The library's tracking table. It has a line for each projection: its name, and the log position that it has
reached."""

SLICE_SECONDS = 0.2
"""Seconds after which a transaction ends, however slow its statements are. This is well below the time after which a
connection counts as frozen."""


class ProjectionTables(PostgresTrackingRecorder):
    """The tables of one projection. With a `suffix` they are the ones that a rebuild fills."""

    def __init__(
        self, datastore: PostgresDatastore, projection: Projection, mapper: EventMapper, suffix: str = ""
    ) -> None:
        super().__init__(datastore, tracking_table_name=TRACKING_TABLE)
        self.projection = projection
        self.name = projection.name + suffix
        self.topics = topics_of(projection)
        self._mapper = mapper
        schema = datastore.schema
        self.tables = {name: Identifier(schema, TABLE_PREFIX + name + suffix) for name in table_names(projection)}
        self._tracking = {"tracking": Identifier(schema, TRACKING_TABLE), "schema": Identifier(schema)}
        self._composed: dict[str, Composed] = {}
        self._takes_batches = type(projection).process_batch is not Projection.process_batch
        self._at_once = 1
        """Events that are processed together. It grows as long as they are quick."""

    # Creating

    def create_table(self) -> None:
        """Creates what is missing, at position 0. Several processes may do so at once. Raises ProjectionError where the
        projection's DDL does not run."""
        if self._exists():
            return
        with self.datastore.transaction(commit=True) as cursor:
            locks.hold_projections(cursor)
            cursor.execute("set local client_min_messages = warning")
            cursor.execute(self.sql_create_statements[0])
            if self.lock(cursor) is None:
                self.create_within(cursor)

    def create_within(self, cursor: Cursor[DictRow]) -> None:
        """Creates the tables and the position 0 in a transaction that is under way."""
        try:
            cursor.execute(self.sql(self.projection.tables), prepare=False)
        except psycopg.errors.InsufficientPrivilege:
            raise
        except psycopg.ProgrammingError as error:
            raise ProjectionError(self.name, f"its tables cannot be made: {in_short(error)}") from error
        self.set_position(cursor, 0)

    def drop_tables(self, cursor: Cursor[DictRow]) -> None:
        """Drops the tables that are there."""
        for table in self.tables.values():
            cursor.execute(SQL("drop table if exists {}").format(table))

    def _exists(self) -> bool:
        try:
            return self.max_tracking_id(self.name) is not None
        except ProgrammingError:  # there is no table yet
            return False

    # The position

    @property
    def position(self) -> int:
        """The log position that the tables have reached."""
        return self.max_tracking_id(self.name) or 0

    def max_tracking_id(self, application_name: str) -> int | None:  # noqa: ARG002 the library's signature
        """The position. The library asks by the name of a log, and there is only one."""
        position: int | None = super().max_tracking_id(self.name)
        return position

    def lock(self, cursor: Cursor[DictRow]) -> int | None:
        """Locks the position until the transaction ends, and returns it; None where there is none."""
        cursor.execute(
            self._sql("select notification_id from {tracking} where application_name = %s for update"), (self.name,)
        )
        row = cursor.fetchone()
        return None if row is None else int(row["notification_id"])

    def position_within(self, cursor: Cursor[DictRow]) -> int:
        """The position, in the snapshot of a transaction that is under way."""
        return self._max_tracking_id(self.name, cursor) or 0

    def set_position(self, cursor: Cursor[DictRow], position: int) -> None:
        """Sets the position, whatever it was."""
        statement = """insert into {tracking} values (%s, %s)
            on conflict (application_name) do update set notification_id = excluded.notification_id"""
        cursor.execute(self._sql(statement), (self.name, position))

    def forget_position(self, cursor: Cursor[DictRow]) -> None:
        """Removes the position, for tables that are no longer under this name."""
        cursor.execute(self._sql("delete from {tracking} where application_name = %s"), (self.name,))

    # Processing

    def process(self, batch: LogBatch) -> int:
        """Applies a batch, or as much of it as SLICE_SECONDS allow, and moves the position, in one transaction.
        Returns the new position; calling it again with the same batch goes on from there.

        What another process has applied meanwhile is skipped. Raises ProjectionError, which names the event that
        cannot be applied; then nothing of the batch is.
        """
        with self.datastore.transaction(commit=True) as cursor:
            return self.process_within(cursor, batch)

    def process_within(self, cursor: Cursor[DictRow], batch: LogBatch) -> int:
        """As `process`, in a transaction that is under way."""
        position = self.lock(cursor)
        if position is None or position < batch.after:
            # The batch begins too late: what lies between was never applied. The caller reads the position anew and
            # goes on.
            raise OperationalError(f"projection {self.name} was set back")
        if position >= batch.id:
            return position
        position = self._apply_slice(cursor, [row for row in batch.rows if row.log_position > position], batch.id)
        self._insert_tracking(cursor, Tracking(self.name, position))
        return position

    def _apply_slice(self, cursor: Cursor[DictRow], rows: list[EventRow], end: int) -> int:
        """Applies rows until time is up. Returns the position reached, which is `end` if all rows were applied."""
        done, began = 0, time.monotonic()
        deadline = began + SLICE_SECONDS
        while done < len(rows) and (not done or began <= deadline):
            piece = rows[done : done + self._at_once]
            if self._is_applied(cursor, piece):
                done += len(piece)
            else:
                self._at_once = 1  # so it is found out which one it is
                continue
            before, began = began, time.monotonic()
            if self._takes_batches:
                is_quick = began - before < SLICE_SECONDS / 4
                self._at_once = max(self._at_once, 2 * len(piece)) if is_quick else max(1, len(piece) // 2)
        return end if done == len(rows) else rows[done - 1].log_position

    def _is_applied(self, cursor: Cursor[DictRow], rows: list[EventRow]) -> bool:
        """Applies rows together. False where they cannot be, and nothing of them is. Raises ProjectionError for one."""
        try:
            if len(rows) == 1:
                self._execute(cursor, rows)
            else:
                with cursor.connection.transaction():
                    self._execute(cursor, rows)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception as error:
            if len(rows) > 1:
                return False
            (row,) = rows
            where = f"position {row.position} of session {row.session_id}, {row.topic}"
            what = f"{where}: {type(error).__name__}: {in_short(error)}"
            raise ProjectionError(self.name, what, row.log_position) from error
        return True

    def _execute(self, cursor: Cursor[DictRow], rows: list[EventRow]) -> None:
        if batch := list(self._wanted(rows)):
            for statement, params in self.projection.process_batch(batch):
                cursor.execute(self.sql(statement), params, prepare=True)

    def _wanted(self, rows: list[EventRow]) -> Iterator[RecordedEvent]:
        for row in rows:
            event = self._mapper.event(row.topic, row.state)
            if isinstance(event, self.projection.events):
                yield RecordedEvent(row.session_id, row.position, row.log_position, event)

    def sql(self, statement: str) -> Composed:
        """The statement with the names of the tables in it."""
        composed = self._composed.get(statement)
        if composed is None:
            composed = self._composed[statement] = SQL(statement).format(**self.tables)
        return composed

    def _sql(self, statement: LiteralString) -> Composed:
        return SQL(statement).format(**self._tracking)


def topics_of(projection: Projection) -> list[str]:
    """The topics under which the events that it takes are stored. They include all old topics, because what an old
    event becomes is known only once it is read."""
    return [*(event.topic for event in projection.events), *UPCASTERS]
