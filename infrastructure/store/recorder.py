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

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Connection, Cursor
from psycopg.rows import tuple_row
from psycopg.sql import Composed

from turnlog.infrastructure.store.batch import Append, KeyRow, SessionRow
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

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        """The library's way in: as `append`, for rows alone."""
        return self._insert([(_id(row), row.originator_version, row.topic, row.state) for row in stored_events], (), ())

    def append(
        self, appends: Iterable[Append], sessions: Sequence[SessionRow] = (), keys: Sequence[KeyRow] = ()
    ) -> Sequence[int]:
        """Inserts all rows in one transaction, or none.

        Returns their notification ids. Raises the library's IntegrityError where a position is taken, its
        OperationalError or InterfaceError where the outcome is not known, and another PersistenceError where
        Postgres refuses the rows.
        """
        rows: list[_Row] = []
        for append in appends:
            session_id, position = append.session_id.bytes, append.position
            parts = iter(append.rows)
            for topic, body in zip(parts, parts, strict=True):
                rows.append((session_id, position, topic, body))
                position += 1
        return self._insert(rows, sessions, keys)

    def _insert(self, rows: Sequence[_Row], sessions: Sequence[SessionRow], keys: Sequence[KeyRow]) -> Sequence[int]:
        if not rows:
            return []
        with self.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            try:
                first = self._begin(cursor) + 1
                with cursor.copy(self.statements["copy_events"]) as copy:
                    copy.write(self._packed(rows, first))
                self._upsert(cursor, sessions, keys)
                cursor.execute(self.statements["commit_append"], prepare=False)
            except BaseException:
                _roll_back(connection)
                raise
        return list(range(first, first + len(rows)))

    def _begin(self, cursor: Cursor[Any]) -> int:
        """Begins the transaction, takes the lock, and returns the last notification id."""
        cursor.execute(self.statements["begin_append"], prepare=False)
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        return row[0] if row else 0

    def _upsert(self, cursor: Cursor[Any], sessions: Sequence[SessionRow], keys: Sequence[KeyRow]) -> None:
        for statement, row_type, rows in (("upsert_sessions", SessionRow, sessions), ("upsert_keys", KeyRow, keys)):
            if rows:
                columns = [[getattr(row, name) for row in rows] for name in row_type.__slots__]
                cursor.execute(self.statements[statement], columns)

    def _packed(self, rows: Sequence[_Row], notification_id: int) -> bytes:
        """The rows in COPY's binary format (postgresql.org/docs/current/sql-copy.html, "Binary Format")."""
        parts = [_COPY_HEADER]
        start, length, end, topics = _ROW_START.pack, _LENGTH.pack, _ROW_END.pack, self._topics
        for session_id, position, topic, body in rows:
            parts += (
                start(5, 16, session_id, 8, position),
                topics.get(topic) or self._packed_topic(topic),
                length(len(body)),
                body,
                end(8, notification_id),
            )
            notification_id += 1
        parts.append(_COPY_TRAILER)
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


_Row = tuple[bytes, int, str, bytes]
"""session id, position, topic, body"""


def _id(stored_event: StoredEvent) -> bytes:
    return UUID(str(stored_event.originator_id)).bytes


def _roll_back(connection: Connection[Any]) -> None:
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()
