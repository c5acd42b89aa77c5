"""Conversations out of a table of another system's database: one row a message."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from turnlog.domain.errors import InvalidInputError

_SESSION = ("sessionid", "threadid", "conversationid", "chatid")
_ORDER = ("sequence", "seq", "position", "messageindex", "ordinal")
_USER = ("userid", "ownerid", "accountid")
_MESSAGE = ("role", "content", "name", "toolcallid", "refusal", "toolcalls", "functioncall")
ROWS_AT_ONCE = 1_000


class ForeignSession(NamedTuple):
    """The rows of one session, in order. `number` counts from 1; `user` is None where the table has no such column.
    `table` has its schema in front, however it was named."""

    number: int
    table: str
    id: str
    user: str | None
    rows: list[dict[str, Any]]


def read_table(url: str, table: str) -> Iterator[ForeignSession]:
    """The sessions of a table (`name` or `schema.name`), read from a cursor on the server, so in flat memory.

    Columns are found by name, in any case and with or without underscores; a row without a session is none. Raises
    InvalidInputError for a database that cannot be read, and for a table without a session, an order, or a role.
    """
    try:
        with psycopg.connect(url) as connection:
            yield from _sessions(connection, table)
    except psycopg.Error as error:
        raise InvalidInputError("--from", str(error).strip()) from error


def _sessions(connection: psycopg.Connection[Any], table: str) -> Iterator[ForeignSession]:
    name = sql.Identifier(*table.split("."))
    described = connection.execute(sql.SQL("select * from {} limit 0").format(name)).description or ()
    columns = {column.name.replace("_", "").lower(): column.name for column in described}
    session, order = _found(columns, _SESSION, "session id"), _found(columns, _ORDER, "order")
    _found(columns, ("role",), "role")
    user = next((columns[wanted] for wanted in _USER if wanted in columns), None)
    wanted = [session, order, *([user] if user else []), *(columns[name] for name in _MESSAGE if name in columns)]
    full_name = _full_name(connection, name)
    query = sql.SQL("select {columns} from {table} where {session} is not null order by {session}, {order}").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, wanted)),
        table=name,
        session=sql.Identifier(session),
        order=sql.Identifier(order),
    )
    with connection.cursor("turnlog_import", row_factory=dict_row) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(query)
        for number, (found, rows) in enumerate(groupby(cursor, lambda row: row[session]), 1):
            kept = list(rows)
            owner = None if user is None or kept[0][user] is None else str(kept[0][user])
            yield ForeignSession(number, full_name, str(found), owner, [_message(row, columns) for row in kept])


def _full_name(connection: psycopg.Connection[Any], name: sql.Identifier) -> str:
    query = """select nspname || '.' || relname from pg_class join pg_namespace n on n.oid = relnamespace
        where pg_class.oid = to_regclass(%s)"""
    (found,) = connection.execute(query, (name.as_string(connection),)).fetchone() or (name.as_string(connection),)
    return str(found)


def _found(columns: dict[str, str], wanted: tuple[str, ...], what: str) -> str:
    for name in wanted:
        if name in columns:
            return columns[name]
    raise InvalidInputError("--table", f"has no column for the {what}; it has {', '.join(columns.values())}")


def _message(row: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    return {columns[name]: row[columns[name]] for name in _MESSAGE if name in columns}
