"""Dropping a projection that is no longer wanted. Only its name is needed, because its class may be gone too."""

from __future__ import annotations

from eventsourcing.persistence import OperationalError, PersistenceError
from eventsourcing.postgres import PostgresDatastore
from psycopg import Cursor
from psycopg.errors import LockNotAvailable
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from turnlog.domain.errors import ProjectionError
from turnlog.infrastructure.store import locks
from turnlog.infrastructure.store.refusals import in_short, is_forbidden
from turnlog.infrastructure.store.store import EventStore
from turnlog.infrastructure.tables.projection import REBUILT, TABLE_PREFIX
from turnlog.infrastructure.tables.projection_tables import TRACKING_TABLE

LOCK_MS = 2_000
"""Milliseconds to wait for readers of the tables."""


async def drop(store: EventStore, name: str) -> list[str]:
    """Drops the tables and the position of a projection, and what a rebuild of it has left; only the latter if the name
    ends with `_new`. All of it is one transaction. Returns the names of the tables.

    Raises ProjectionError where there is no such projection, while it is rebuilt or read, and where something else
    depends on a table; and StoreError.
    """
    return await store.run(_drop, store.recorder.datastore, name)


def _drop(datastore: PostgresDatastore, name: str) -> list[str]:
    try:
        with datastore.transaction(commit=True) as cursor:
            return _drop_within(cursor, datastore.schema, name)
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise ProjectionError(name, "its tables are in use, and cannot be dropped now") from error
        raise
    except PersistenceError as error:  # for example a view on one of the tables
        if is_forbidden(error):
            raise
        raise ProjectionError(name, f"its tables cannot be dropped: {in_short(error)}") from error


def _drop_within(cursor: Cursor[DictRow], schema: str, name: str) -> list[str]:
    base = name.removesuffix(REBUILT)
    _lock(cursor, schema, base)
    tracked = _tracked(cursor, schema)
    tables = [table for table in _tables(cursor, schema) if _owner(table, {*tracked, base}) == base]
    names = {base + REBUILT}
    if name == base:
        names.add(base)
    else:
        tables = [table for table in tables if table.endswith(REBUILT)]
    if not tables and not names & set(tracked):
        there = ", ".join(tracked) or "none"
        raise ProjectionError(name, f"there is no such projection in this database; there are: {there}")
    if tracked:  # the position first: a worker holds it while it works, and takes the tables after it
        statement = SQL("delete from {} where application_name = any(%s)").format(Identifier(schema, TRACKING_TABLE))
        cursor.execute(statement, (list(names),))
    for table in tables:
        cursor.execute(SQL("drop table {}").format(Identifier(schema, table)))
    return tables


def _lock(cursor: Cursor[DictRow], schema: str, base: str) -> None:
    """Keeps other processes from creating tables meanwhile. Raises ProjectionError while a rebuild holds its lock."""
    cursor.execute(SQL("set local lock_timeout = {}").format(LOCK_MS))
    locks.hold_projections(cursor)
    if not locks.try_rebuild(cursor, schema, base):
        raise ProjectionError(base, "another process is rebuilding it")


def _tracked(cursor: Cursor[DictRow], schema: str) -> list[str]:
    """The names of all projections that were ever run."""
    table = Identifier(schema, TRACKING_TABLE)
    cursor.execute("select to_regclass(%s) is not null as there", (table.as_string(cursor),))
    row = cursor.fetchone()
    if not (row and row["there"]):
        return []
    cursor.execute(SQL("select application_name as name from {} order by 1").format(table))
    return [str(found["name"]) for found in cursor.fetchall()]


def _tables(cursor: Cursor[DictRow], schema: str) -> list[str]:
    query = "select tablename as name from pg_tables where schemaname = %s and starts_with(tablename, %s) order by 1"
    cursor.execute(query, (schema, TABLE_PREFIX))
    return [str(found["name"]) for found in cursor.fetchall()]


def _owner(table: str, names: set[str]) -> str:
    """The projection that the table belongs to: the longest name that the table's name begins with. Where `a` and `a_b`
    are projections, the table `a_b_c` is the one of `a_b`."""
    what = table.removeprefix(TABLE_PREFIX).removesuffix(REBUILT)
    bases = {name.removesuffix(REBUILT) for name in names}
    return max((base for base in bases if what == base or what.startswith(f"{base}_")), key=len, default="")
