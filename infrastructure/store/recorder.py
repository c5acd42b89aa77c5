"""The recorder: eventsourcing's recorder for Postgres, with an insert that takes a whole batch in one statement.

The columns of the table and the reading of events are the library's. The rest is its own:

* A batch is one call of a database function, with the columns as binary arrays. Lock, insert, the lines of the lists,
  keys and commit are one round trip. Inside Postgres that is as quick as COPY of the same rows, which needs four.
* It blocks in libpq, without psycopg's pipeline mode: there the library's insert hangs for batches of more than about
  half a megabyte.
* It holds no lock of the table until the commit, and sends no NOTIFY, which takes such a lock. With them eight
  processes were half as quick as one. So commits may appear in another order than their notification ids. Readers of
  the whole log stop below what is still under way (`settled` in schema.sql), and look by themselves for what is new.
* It tries once. Its caller knows whether an answer was lost, and decides whether to try again (`commit_recovery`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import Notification, StoredEvent, Subscription
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresSubscription
from psycopg import Connection, RawCursor
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from turnlog.infrastructure.store import locks
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.packing import PARAMETER_TYPES, Parameters, pack_rows
from turnlog.infrastructure.store.statements import EVENTS_TABLE, Statements

_BINARY = [Format.BINARY] * len(PARAMETER_TYPES)

PAUSE_SECONDS = 0.1
"""Seconds between two looks of a subscription."""


class PolledSubscription(PostgresSubscription):
    """The library's subscription, but it looks for what is new where that one waits to be notified."""

    def _listen(self) -> None:
        while not self._has_been_stopped and not self._thread_error:
            self._has_been_notified.set()
            time.sleep(PAUSE_SECONDS)


class BatchRecorder(PostgresApplicationRecorder):
    """Inserts each batch in one statement. It passes the library's test cases for recorders."""

    datastore: UrlDatastore

    def __init__(self, datastore: UrlDatastore, *, events_table_name: str = EVENTS_TABLE) -> None:
        super().__init__(datastore, events_table_name=events_table_name)
        self.statements = Statements(datastore.schema, events_table_name)
        self.append_statement = self.statements["append"].as_string()

    def create_table(self) -> None:
        """Creates what the schema lacks. Several processes may do so at once."""
        with self.datastore.transaction(commit=True) as cursor:
            locks.hold_schema(cursor)
            cursor.execute("set local client_min_messages = warning")
            # Asked first, because `if not exists` wants the right to create also where the schema is there.
            cursor.execute("select from pg_namespace where nspname = %s", (self.datastore.schema,))
            if cursor.fetchone() is None:
                cursor.execute(SQL("create schema {}").format(Identifier(self.datastore.schema)))
            cursor.execute(self.statements.create(), prepare=False)

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        """Inserts all rows in one transaction, or none. Returns their notification ids.

        Raises the library's IntegrityError where a position is taken, its OperationalError or InterfaceError where
        the outcome is not known, and another PersistenceError where Postgres refuses the rows.
        """
        if not stored_events:
            return []
        parameters = pack_rows(
            [UUID(str(row.originator_id)).bytes for row in stored_events],
            [row.originator_version for row in stored_events],
            [row.topic for row in stored_events],
            [row.state for row in stored_events],
        )
        with self.datastore.get_connection() as connection:
            last = int.from_bytes(self.call(parameters, connection) or b"")
        return list(range(last - len(stored_events) + 1, last + 1))

    def call(self, parameters: Parameters, connection: Connection[Any]) -> bytes | None:
        """Calls the append function, and blocks. Returns its answer. Raises psycopg's errors."""
        libpq = connection.pgconn
        statement = self.append_statement.encode()
        result = libpq.exec_params(statement, parameters, PARAMETER_TYPES, _BINARY, Format.BINARY)
        if result.status == ExecStatus.TUPLES_OK:
            return result.get_value(0, 0)
        if libpq.status == ConnStatus.BAD:
            raise psycopg.OperationalError(libpq.get_error_message())
        raise error_from_result(result)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """As the library's, but only up to the head of the log."""
        head = self.log_head()
        stop = head if stop is None else min(stop, head)
        found: Sequence[Notification] = super().select_notifications(
            start, limit, stop, topics, inclusive_of_start=inclusive_of_start
        )
        return found

    def log_head(self) -> int:
        """The notification id up to which nothing new will appear; 0 in an empty log.

        It can be lower than it was, because an append that begins holds it back. What was settled once stays settled.
        """
        head: int = self.fetch("log_head")[0][0]
        return head

    def mend_positions(self) -> None:
        """Sets the sequence of the log positions right where it lags the log, as after a copy of the table alone."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(self.statements["hold_positions"])  # a statement of its own: the next one sees what it saw
            cursor.execute(self.statements["mend_positions"])

    def log_end(self) -> int:
        """The last notification id that was given out. Its event may be there, under way or refused."""
        end: int = self.fetch("log_end")[0][0]
        return end

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[PostgresApplicationRecorder]:
        """As the library's, but it looks for what is new every PAUSE_SECONDS."""
        return PolledSubscription(recorder=self, gt=gt, topics=topics)

    def standing(self, session_id: UUID, base: int) -> bytes:
        """What the statement `standings` answers for one session."""
        with self.datastore.get_connection() as connection, RawCursor(connection, row_factory=tuple_row) as cursor:
            cursor.execute(self.statements["standings"].as_string(), ([session_id], [base]), binary=True)
            return (cursor.pgresult and cursor.pgresult.get_value(0, 0)) or b""

    def fetch_by_index(self, name: str, *params: Any) -> list[tuple[Any, ...]]:
        """As `fetch`, for a statement whose order is that of an index (see `by_index` in queries.sql)."""
        with (
            self.datastore.get_connection() as connection,
            connection.transaction(),
            connection.cursor(row_factory=tuple_row) as cursor,
        ):
            cursor.execute(self.statements["by_index"], prepare=True)
            cursor.execute(self.statements[name], params, prepare=True, binary=True)
            return cursor.fetchall()

    def fetch(self, name: str, *params: Any) -> list[tuple[Any, ...]]:
        """The rows of a named statement. Raises the library's PersistenceErrors."""
        with self.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(self.statements[name], params, prepare=True, binary=True)
            return cursor.fetchall()
