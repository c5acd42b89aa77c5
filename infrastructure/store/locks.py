"""The advisory locks that are known by a name: what processes do one at a time in a database.

Processes of older versions take them by the same names, so neither a name nor its hash function ever changes. Two more
locks go by the number of a table and of a sequence: those of appends and of log positions, in `schema.sql`.

Each ends with its transaction. A lock of a session would stay in the server process behind a pooler.
"""

from __future__ import annotations

from typing import Any

from psycopg import Cursor

_SCHEMA = "turnlog schema"
_PROJECTIONS = "turnlog projections"

_HOLD = "select pg_advisory_xact_lock(hashtext(%s))"
_TRY = "select pg_try_advisory_xact_lock(hashtextextended(%s, 0)) as taken"


def hold_schema(cursor: Cursor[Any]) -> None:
    """Waits until nobody else creates or upgrades the schema, and keeps others from it until the transaction ends."""
    cursor.execute(_HOLD, (_SCHEMA,))


def hold_projections(cursor: Cursor[Any]) -> None:
    """The same for making and dropping the tables of projections."""
    cursor.execute(_HOLD, (_PROJECTIONS,))


def try_rebuild(cursor: Cursor[Any], schema: str, projection: str) -> bool:
    """Keeps others from rebuilding the projection until the transaction ends. False while somebody else does so: it
    does not wait."""
    cursor.execute(_TRY, (f"turnlog rebuild {schema}.{projection}",))
    row = cursor.fetchone()
    return bool(row and row["taken"])


def stay(cursor: Cursor[Any]) -> None:
    """Lets the transaction be idle for as long as it takes."""
    cursor.execute("set local idle_in_transaction_session_timeout = 0")
