"""Conversations out of a table of another system's database: one row a message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.foreign import TIME_COLUMNS, column_name
from turnlog.domain.inputs import ORDER_COLUMNS
from turnlog.infrastructure.store.foreign_rows import foreign_table

_SESSION = ("sessionid", "threadid", "conversationid", "chatid")
_TIES = ("createdat", "created", "timestamp", "id")
"""Where two rows have the same number, as when two writers counted the rows, these say which comes first."""
_USER = ("userid", "ownerid", "accountid")
_MESSAGE = ("role", "content", "name", "toolcallid", "refusal", "toolcalls", "functioncall")


class ForeignSession(NamedTuple):
    """The rows of one session, in order.

    `number` counts the sessions from 1. `table` has its schema in front, however it was asked for. `users` are all
    users that the rows name.
    """

    number: int
    table: str
    id: str
    users: tuple[str, ...]
    rows: list[dict[str, Any]]


def read_table(url: str, table: str) -> Iterator[ForeignSession]:
    """The sessions of a table (`name` or `schema.name`), read row by row.

    Columns are found by name, in any case and with or without underscores. Rows without a session are skipped. Raises
    InvalidInputError for a database that cannot be read, and for a table that has no column for the session, the
    order or the role.
    """
    with foreign_table(url, table) as found:
        chosen = _Columns(found.columns)
        rows = found.rows(chosen.wanted, not_null=chosen.session, order_by=chosen.order_by)
        for number, (session, group) in enumerate(groupby(rows, lambda row: row[chosen.session]), 1):
            kept = list(group)
            messages = [chosen.message(row) for row in kept]
            yield ForeignSession(number, found.name, str(session), chosen.users(kept), messages)


class _Columns:
    """The columns that matter, by what they hold."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._names = {column_name(column): column for column in columns}
        self.session = self._required(_SESSION, "session id")
        self._order = self._required(ORDER_COLUMNS, "order")
        self._required(("role",), "role")
        self._user = next(iter(self._those(_USER)), None)
        self._message = self._those(_MESSAGE)
        self._time = next(iter(self._those(TIME_COLUMNS)), None)
        user = [self._user] if self._user else []
        time = [self._time] if self._time else []
        self.wanted = [self.session, self._order, *user, *self._message, *time]
        self.order_by = [self.session, self._order, *self._those(_TIES)]

    def users(self, rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
        """All users that the rows name, each once."""
        named = (row[self._user] for row in rows if self._user is not None)
        return tuple(dict.fromkeys(str(user) for user in named if user is not None))

    def message(self, row: dict[str, Any]) -> dict[str, Any]:
        """The message of a row, with its number, where JSON has the type, and its time."""
        message = {name: row[name] for name in self._message}
        number = row[self._order]
        numbered = {**message, self._order: number} if isinstance(number, int | float | str) else message
        time = None if self._time is None else row[self._time]
        if isinstance(time, datetime):
            time = time.isoformat()
        return {**numbered, self._time: time} if self._time and isinstance(time, int | float | str) else numbered

    def _those(self, names: Sequence[str]) -> list[str]:
        return [self._names[name] for name in names if name in self._names]

    def _required(self, names: Sequence[str], what: str) -> str:
        found = self._those(names)
        if not found:
            there = ", ".join(self._names.values())
            raise InvalidInputError("--table", f"has no column for the {what}; it has {there}")
        return found[0]
