"""What the user of the database must be allowed, and what each of the three roles is granted.

There is one table of it, for the roles that `turnlog init --roles` makes, and for the examination at open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from psycopg.sql import SQL, Composed, Identifier

READ = ("select",)
_GROW = ("select", "insert")
_CHANGE = ("select", "insert", "update")
_ALL = ("select", "insert", "update", "delete")

TABLES: Mapping[str, tuple[str, ...]] = {
    "{events}": _GROW,
    "turnlog_sessions": _CHANGE,
    "turnlog_writers": _ALL,
    "turnlog_keys": _CHANGE,
    "turnlog_heads": _ALL,
    "turnlog_pages": _ALL,
    "turnlog_marks": _ALL,
    "turnlog_states": _ALL,
    "turnlog_prefixes": _CHANGE,
    "turnlog_schema": READ,
}
"""By table: what an application does with it. Events are never changed."""
SEQUENCES: Mapping[str, tuple[str, ...]] = {"{events}_positions": ("select", "usage", "update")}
FUNCTIONS: Mapping[str, tuple[str, ...]] = {"{events}_append": ("execute",), "{events}_settled": ("execute",)}
PROJECTIONS = _ALL
"""What an application does with the tables of projections, once they are there."""
OF_A_SESSION: Mapping[str, str] = {
    "{events}": "originator_id",
    "turnlog_sessions": "session_id",
    "turnlog_keys": "session_id",
    "turnlog_heads": "session_id",
    "turnlog_pages": "session_id",
    "turnlog_marks": "session_id",
    "turnlog_states": "session_id",
    "turnlog_prefixes": "session_id",
}
"""By table: the column that says to which session a row belongs. With row-level security a reader sees these tables
alone, and of them the rows of one user's sessions."""


class Right(NamedTuple):
    """A privilege on something in the schema: a table, a sequence or a function."""

    kind: str
    name: str
    privilege: str


def needed(events: str) -> list[Right]:
    """All that an application needs in its schema. `events` is the name of the table of events."""
    return [
        Right(kind, name.format(events=events), right)
        for kind, things in (("table", TABLES), ("sequence", SEQUENCES), ("function", FUNCTIONS))
        for name, rights in things.items()
        for right in rights
    ]


def grants(rights: Iterable[Right], schema: str, role: str) -> list[Composed]:
    """The statements that grant these rights, one for each thing."""
    # The functions have several signatures, so they are granted together.
    rights = [right._replace(name="") if right.kind == "function" else right for right in rights]
    by_thing: dict[tuple[str, str], dict[str, None]] = {}
    for kind, name, privilege in rights:
        by_thing.setdefault((kind, name), {})[privilege] = None
    return [
        SQL("grant {} on {} {} to {}").format(
            SQL(", ").join(map(SQL, privileges)),
            SQL(kind if name else "all functions in schema"),
            Identifier(schema, name) if name else Identifier(schema),
            Identifier(role),
        )
        for (kind, name), privileges in by_thing.items()
    ]
