"""The advisory locks that are known by a name: what processes do one at a time in a database.

Processes of older versions take them by the same names, so neither a name nor its hash function ever changes. Two more
locks go by the number of a table and of a sequence: those of appends and of log positions, in `schema.sql`.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection, Cursor

_SCHEMA = "turnlog schema"
_PROJECTIONS = "turnlog projections"

_HOLD = "select pg_advisory_xact_lock(hashtext(%s))"
_TRY = "select pg_try_advisory_lock(hashtextextended(%s, 0)) as taken"
_TRY_WITHIN = "select pg_try_advisory_xact_lock(hashtextextended(%s, 0)) as taken"


def hold_schema(cursor: Cursor[Any]) -> None:
    """Waits until nobody else creates or upgrades the schema, and keeps others from it until the transaction ends."""
    cursor.execute(_HOLD, (_SCHEMA,))


def hold_projections(cursor: Cursor[Any]) -> None:
    """The same for making and dropping the tables of projections."""
    cursor.execute(_HOLD, (_PROJECTIONS,))


def try_rebuild(connection: Connection[Any], schema: str, projection: str) -> bool:
    """Keeps others from rebuilding the projection for as long as the connection lives. False while somebody else does
    so: it does not wait."""
    return _is_taken(connection.execute(_TRY, (_rebuild(schema, projection),)))


def try_rebuild_within(cursor: Cursor[Any], schema: str, projection: str) -> bool:
    """As `try_rebuild`, until the transaction ends."""
    return _is_taken(cursor.execute(_TRY_WITHIN, (_rebuild(schema, projection),)))


def _rebuild(schema: str, projection: str) -> str:
    return f"turnlog rebuild {schema}.{projection}"


def _is_taken(cursor: Cursor[Any]) -> bool:
    row = cursor.fetchone()
    return bool(row and row["taken"])
