"""The recorder: eventsourcing's for Postgres, with an insert that takes a whole batch by binary COPY.

What it keeps of the library's: the table's columns, the EXCLUSIVE lock in front of the insert (so that notification
ids appear in order), NOTIFY, and all reading. What is its own:

* rows are packed into COPY's binary format and sent in one stream, outside psycopg's pipeline mode, in which the
  library's insert hangs once a batch passes about half a megabyte;
* notification ids are given under the lock, one above the last: a rolled-back batch leaves no gap;
* it tries once. Whether a failed batch may be tried again is for the caller to say, who knows whether the answer
  was lost (see `writer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Connection
from psycopg.rows import DictRow, tuple_row
from psycopg.sql import Composed

from turnlog.infrastructure.store.batch import KeyRow, SessionRow
from turnlog.infrastructure.store.statements import EVENTS_TABLE, Statements

_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TRAILER = b"\xff\xff"
_ROW_START = Struct(">hi16siq")  # five columns; originator_id; originator_version
_LENGTH = Struct(">i")
_ROW_END = Struct(">iq")  # notification_id


class CopyRecorder(PostgresApplicationRecorder):
    """Inserts batches by COPY. A drop-in for the library's recorder."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = EVENTS_TABLE) -> None:
        self.check_identifier_length(events_table_name)
        super().__init__(datastore, events_table_name=events_table_name)
        self.statements = Statements(datastore.schema, events_table_name)
        self._topics: dict[str, bytes] = {}

    def create_table(self) -> None:
        """Creates what is missing of the schema. Several processes may do so at once."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("select pg_advisory_xact_lock(hashtext('turnlog schema'))")
            cursor.execute("set local client_min_messages = warning")
            cursor.execute(self.statements.create(), prepare=False)

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        sessions: Sequence[SessionRow] = (),
        keys: Sequence[KeyRow] = (),
        **_: Any,
    ) -> Sequence[int]:
        """Inserts all rows in one transaction, or none.

        Returns their notification ids. Raises the library's IntegrityError where a position is taken, its
        OperationalError or InterfaceError where the outcome is not known, and another PersistenceError where
        Postgres refuses the rows.
        """
        if not stored_events:
            return []
        with self.datastore.get_connection() as connection:
            try:
                return self._insert(connection, stored_events, sessions, keys)
            except BaseException:
                _roll_back(connection)
                raise

    def _insert(
        self,
        connection: Connection[DictRow],
        stored_events: Sequence[StoredEvent],
        sessions: Sequence[SessionRow],
        keys: Sequence[KeyRow],
    ) -> Sequence[int]:
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(self.statements["begin_append"], prepare=False)
            while cursor.nextset():
                pass
            row = cursor.fetchone()
            first = (row[0] if row else 0) + 1
            with cursor.copy(self.statements["copy_events"]) as copy:
                copy.write(self._packed(stored_events, first))
            if sessions:
                columns = [[getattr(session, name) for session in sessions] for name in SessionRow.__slots__]
                cursor.execute(self.statements["upsert_sessions"], columns)
            if keys:
                ids, names, values = (
                    [row.session_id for row in keys],
                    [row.key for row in keys],
                    [row.value for row in keys],
                )
                cursor.execute(self.statements["upsert_keys"], (ids, names, values))
            cursor.execute(self.statements["commit_append"], prepare=False)
        return list(range(first, first + len(stored_events)))

    def _packed(self, stored_events: Sequence[StoredEvent], notification_id: int) -> bytes:
        """The rows in COPY's binary format (postgresql.org/docs/current/sql-copy.html, "Binary Format")."""
        parts = [_COPY_HEADER]
        add, start, length, end = parts.append, _ROW_START.pack, _LENGTH.pack, _ROW_END.pack
        for event in stored_events:
            add(start(5, 16, event.originator_id.bytes, 8, event.originator_version))  # type: ignore[union-attr]
            add(self._topics.get(event.topic) or self._packed_topic(event.topic))
            add(length(len(event.state)))
            add(event.state)
            add(end(8, notification_id))
            notification_id += 1
        add(_COPY_TRAILER)
        return b"".join(parts)

    def _packed_topic(self, topic: str) -> bytes:
        data = topic.encode()
        packed = self._topics[topic] = _LENGTH.pack(len(data)) + data
        return packed

    def fetch(self, name: str, *params: Any) -> list[tuple[Any, ...]]:
        """The rows of a named statement, in Postgres' binary format."""
        with self.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(self.statements[name], params, prepare=True, binary=True)
            return cursor.fetchall()

    def run(self, *statements: tuple[Composed, Sequence[Any]]) -> None:
        """Runs the statements in one transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            for statement, params in statements:
                cursor.execute(statement, params)


def _roll_back(connection: Connection[Any]) -> None:
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()
