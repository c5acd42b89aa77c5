"""The limit: how fast Postgres takes the very same rows when nothing stands between them and it.

psycopg's binary COPY of ready tuples, in batches, each its own transaction, on one connection, into a table with
the shape of the events': columns, both indexes, vacuum settings. (The trigger that refuses changes is left out; no
insert fires it.) The rows are read back from what turnlog wrote, so topics, states and order are the same; reading is
not in the time.
"""

from __future__ import annotations

from contextlib import closing
from time import perf_counter
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier

from turnlog.infrastructure.store.statements import EVENTS_TABLE

BATCH = 1_000
_TABLE = "copy_limit"
_BATCHES_AT_ONCE = 50  # in memory

Row = tuple[UUID, int, str, bytes, int]

_COLUMNS = SQL("originator_id, originator_version, topic, state, notification_id")
_TYPES = ("uuid", "int8", "text", "bytea", "int8")
_COPY = SQL("copy {} ({}) from stdin (format binary)").format(Identifier(_TABLE), _COLUMNS)
_READ = SQL("select {} from {} where notification_id > %b and notification_id <= %b order by notification_id").format(
    _COLUMNS, Identifier(EVENTS_TABLE)
)
_CREATE = SQL("""
create table {table} (like {events} including all);
do $$ begin
    execute (
        select format('alter table {table} set (%s)', array_to_string(reloptions, ', '))
        from pg_class where oid = '{events}'::regclass and reloptions is not null
        union all select 'select' limit 1
    );
end $$
""").format(table=Identifier(_TABLE), events=Identifier(EVENTS_TABLE))
_LAST = SQL("select coalesce(max(notification_id), 0) from {}").format(Identifier(EVENTS_TABLE))


class CopyLimit:
    """One connection of plain psycopg, beside turnlog's own."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._last = 0

    def __enter__(self) -> Self:
        self._connection.execute(_CREATE, prepare=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def last_position(self) -> int:
        """The position of the last event in turnlog's log."""
        row: tuple[Any, ...] | None = self._connection.execute(_LAST).fetchone()
        return int(row[0]) if row else 0

    def rows_per_second(self, after: int, upto: int) -> float:
        """Copies the events at log positions after < position <= upto once more, as many times as it is called: each
        time after the last ones, at positions that are free."""
        seconds, shift = 0.0, self._last
        at_once = BATCH * _BATCHES_AT_ONCE
        for first in range(after, upto, at_once):
            rows = self._rows(first, min(first + at_once, upto), shift)
            began = perf_counter()
            for start in range(0, len(rows), BATCH):
                self._copy(rows[start : start + BATCH])
            seconds += perf_counter() - began
        self._last = shift + upto
        return (upto - after) / seconds

    def _rows(self, after: int, upto: int, shift: int) -> list[Row]:
        rows: list[Row] = self._connection.execute(_READ, (after, upto), binary=True).fetchall()
        return [
            (name, version + shift, topic, state, position + shift) for name, version, topic, state, position in rows
        ]

    def _copy(self, rows: list[Row]) -> None:
        with closing(self._connection.cursor()) as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)
