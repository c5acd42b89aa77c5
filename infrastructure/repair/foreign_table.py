"""Conversations out of a table of another system's database: one row a message."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.foreign import column_name
from turnlog.domain.inputs import ORDER_COLUMNS

_SESSION = ("sessionid", "threadid", "conversationid", "chatid")
_TIES = ("createdat", "created", "timestamp", "id")
"""Where two rows have one place, these tell which comes first: two writers have counted the rows, say."""
_USER = ("userid", "ownerid", "accountid")
_MESSAGE = ("role", "content", "name", "toolcallid", "refusal", "toolcalls", "functioncall")
TABLE_PAGE_ROWS = 1_000


class ForeignSession(NamedTuple):
    """The rows of one session, in order. `number` counts from 1; `users` are all that its rows name. `table` has its
    schema in front, however it was named."""

    number: int
    table: str
    id: str
    users: tuple[str, ...]
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
    columns = {column_name(column.name): column.name for column in described}
    session, order = _found(columns, _SESSION, "session id"), _found(columns, ORDER_COLUMNS, "order")
    _found(columns, ("role",), "role")
    user = next((columns[wanted] for wanted in _USER if wanted in columns), None)
    wanted = [session, order, *([user] if user else []), *(columns[name] for name in _MESSAGE if name in columns)]
    full_name = _full_name(connection, name)
    order_by = [session, order, *(columns[name] for name in _TIES if name in columns)]
    query = sql.SQL("select {columns} from {table} where {session} is not null order by {order_by}").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, dict.fromkeys(wanted))),
        table=name,
        session=sql.Identifier(session),
        order_by=sql.SQL(", ").join(map(sql.Identifier, order_by)),
    )
    with connection.cursor("turnlog_import", row_factory=dict_row) as cursor:
        cursor.itersize = TABLE_PAGE_ROWS
        cursor.execute(query)
        for number, (found, rows) in enumerate(groupby(cursor, lambda row: row[session]), 1):
            kept = list(rows)
            named = (row[user] for row in kept if user is not None)
            users = tuple(dict.fromkeys(str(one) for one in named if one is not None))
            yield ForeignSession(number, full_name, str(found), users, [_message(row, columns, order) for row in kept])


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


def _message(row: dict[str, Any], columns: dict[str, str], order: str) -> dict[str, Any]:
    message = {columns[name]: row[columns[name]] for name in _MESSAGE if name in columns}
    place = row[order]
    # Of types that JSON has; a time, say, is in order as it was read.
    return {**message, order: place} if isinstance(place, int | float | str) else message
