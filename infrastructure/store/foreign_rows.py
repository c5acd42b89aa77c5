"""Reading a table of another system's database, from a cursor on the server, so in flat memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.store.connecting import NOT_LIBPQS
from turnlog.infrastructure.urls import fault_of_database_url, without_secrets

FETCHED_ROWS = 1_000
"""Rows that are fetched at once."""


class ForeignTable:
    """A table whose connection is open. `columns` are the names of its columns. `name` has its schema in front, however
    it was asked for."""

    def __init__(self, connection: psycopg.Connection[Any], table: str) -> None:
        self._connection = connection
        self._table = sql.Identifier(*table.split("."))
        described = connection.execute(sql.SQL("select * from {} limit 0").format(self._table)).description or ()
        self.columns = [column.name for column in described]
        self.name = self._full_name()

    def rows(self, columns: Sequence[str], not_null: str, order_by: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The rows with these columns, without those where the column `not_null` is null, in this order."""
        query = sql.SQL("select {columns} from {table} where {not_null} is not null order by {order_by}").format(
            columns=sql.SQL(", ").join(map(sql.Identifier, dict.fromkeys(columns))),
            table=self._table,
            not_null=sql.Identifier(not_null),
            order_by=sql.SQL(", ").join(map(sql.Identifier, order_by)),
        )
        with self._connection.cursor("turnlog_import", row_factory=dict_row) as cursor:
            cursor.itersize = FETCHED_ROWS
            yield from cursor.execute(query)

    def _full_name(self) -> str:
        asked = self._table.as_string(self._connection)
        query = """select nspname || '.' || relname from pg_class join pg_namespace n on n.oid = relnamespace
            where pg_class.oid = to_regclass(%s)"""
        found = self._connection.execute(query, (asked,)).fetchone()
        return str(found[0]) if found else asked


@contextmanager
def foreign_table(url: str, table: str) -> Iterator[ForeignTable]:
    """The table of this name (`name` or `schema.name`) in the database at this URL. Raises InvalidInputError where it
    cannot be read, then or while rows are read."""
    if fault := fault_of_database_url(url):
        raise InvalidInputError("--from", fault)
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise InvalidInputError("--from", NOT_LIBPQS) from None
    try:
        with psycopg.connect(url, client_encoding="utf8") as connection:
            yield ForeignTable(connection, table)
    except psycopg.Error as error:
        raise InvalidInputError("--from", without_secrets(str(error).strip(), url)) from error
