"""The recorder: eventsourcing's for Postgres, with an insert that takes a whole batch in one statement.

What it keeps of the library's: the table's columns, the EXCLUSIVE lock in front of the insert (so that notification
ids appear in order), NOTIFY, and all reading. What is its own:

* a batch is one call of a database function, with the columns as binary arrays: lock, insert, the lists' lines, keys
  and commit in one round trip. COPY of the same rows is a little quicker in the server, but needs four round trips,
  and a thread that waits for an answer beside a busy event loop gets the interpreter back only after its switch
  interval: at 1000 streams those waits were two thirds of a commit;
* it blocks in libpq without psycopg's pipeline mode, in which the library's insert hangs once a batch passes about
  half a megabyte;
* notification ids are given under the lock, one above the last: a rolled-back batch leaves no gap;
* it tries once. Whether a failed batch may be tried again is for the caller to say, who knows whether the answer
  was lost (see `writer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Connection
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.rows import tuple_row
from psycopg.sql import Composed

from turnlog.infrastructure.store import arrays
from turnlog.infrastructure.store.batch import Append, KeyRow, SessionRow
from turnlog.infrastructure.store.statements import EVENTS_TABLE, Statements

_EVENT_TYPES = (arrays.UUID, arrays.INT8, arrays.TEXT, arrays.BYTEA)
_SESSION_TYPES = (
    arrays.UUID, arrays.TEXT, arrays.BYTEA, arrays.TIMESTAMPTZ, arrays.TIMESTAMPTZ, arrays.INT8, arrays.BOOL,
    arrays.TEXT,
)  # fmt: skip
_KEY_TYPES = (arrays.UUID, arrays.BYTEA, arrays.TEXT)
_NO_SESSIONS = (None,) * len(_SESSION_TYPES)
_NO_KEYS = (None,) * len(_KEY_TYPES)
_PARAMETER_TYPES = [arrays.ARRAY_OF[kind] for kind in (*_EVENT_TYPES, *_SESSION_TYPES, *_KEY_TYPES)]
_BINARY = [Format.BINARY] * len(_PARAMETER_TYPES)


class BatchRecorder(PostgresApplicationRecorder):
    """Inserts batches in one statement each. A drop-in for the library's recorder."""

    def __init__(self, datastore: PostgresDatastore, *, events_table_name: str = EVENTS_TABLE) -> None:
        self.check_identifier_length(events_table_name)
        super().__init__(datastore, events_table_name=events_table_name)
        self.statements = Statements(datastore.schema, events_table_name)
        self._append_statement = self.statements["append"].as_string().encode()

    def create_table(self) -> None:
        """Creates what is missing of the schema. Several processes may do so at once."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("select pg_advisory_xact_lock(hashtext('turnlog schema'))")
            cursor.execute("set local client_min_messages = warning")
            cursor.execute(self.statements.create(), prepare=False)

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        """The library's way in: as `append`, for rows alone."""
        return self._insert(
            [UUID(str(row.originator_id)).bytes for row in stored_events],
            [row.originator_version for row in stored_events],
            [row.topic for row in stored_events],
            [row.state for row in stored_events],
        )

    def append(
        self, appends: Iterable[Append], sessions: Sequence[SessionRow] = (), keys: Sequence[KeyRow] = ()
    ) -> Sequence[int]:
        """Inserts all rows in one transaction, or none.

        Returns their notification ids. Raises the library's IntegrityError where a position is taken, its
        OperationalError or InterfaceError where the outcome is not known, and another PersistenceError where
        Postgres refuses the rows.
        """
        ids: list[bytes] = []
        positions: list[int] = []
        rows: list[Any] = []
        for append in appends:
            if append.count == 1:  # a delta: nearly all are
                ids.append(append.id_bytes)
                positions.append(append.position)
            else:
                ids += [append.id_bytes] * append.count
                positions += range(append.position, append.position + append.count)
            rows += append.rows
        return self._insert(ids, positions, rows[::2], rows[1::2], _session_arrays(sessions), _key_arrays(keys))

    def _insert(
        self,
        ids: list[bytes],
        positions: list[int],
        topics: list[str],
        states: list[bytes],
        sessions: Sequence[bytes | None] = _NO_SESSIONS,
        keys: Sequence[bytes | None] = _NO_KEYS,
    ) -> Sequence[int]:
        if not ids:
            return []
        events = [arrays.uuids(ids), arrays.int8s(positions), arrays.names(topics), arrays.byteas(states)]
        with self.datastore.get_connection() as connection:
            last = self._call([*events, *sessions, *keys], connection)
        return list(range(last - len(ids) + 1, last + 1))

    def _call(self, parameters: Sequence[bytes | None], connection: Connection[Any]) -> int:
        """Calls the function, blocking. Returns the last notification id."""
        libpq = connection.pgconn
        result = libpq.exec_params(self._append_statement, parameters, _PARAMETER_TYPES, _BINARY, Format.BINARY)
        if result.status == ExecStatus.TUPLES_OK:
            return int.from_bytes(result.get_value(0, 0) or b"", "big")
        if libpq.status == ConnStatus.BAD:
            raise psycopg.OperationalError(libpq.get_error_message())
        raise error_from_result(result)

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


def _session_arrays(rows: Sequence[SessionRow]) -> Sequence[bytes | None]:
    if not rows:
        return _NO_SESSIONS
    return [
        arrays.uuids(row.session_id.bytes for row in rows),
        arrays.texts(None if row.user_id is None else row.user_id.encode() for row in rows),
        arrays.byteas(row.title for row in rows),
        arrays.timestamps(row.started_at for row in rows),
        arrays.timestamps(row.updated_at for row in rows),
        arrays.int8s(row.version for row in rows),
        arrays.bools(row.deleted for row in rows),
        arrays.texts(None if row.writer is None else row.writer.encode() for row in rows),
    ]


def _key_arrays(rows: Sequence[KeyRow]) -> Sequence[bytes | None]:
    if not rows:
        return _NO_KEYS
    return [
        arrays.uuids(row.session_id.bytes for row in rows),
        arrays.byteas(row.key for row in rows),
        arrays.texts(row.value.encode() for row in rows),
    ]
