"""The roles of a log, by which each program may do what it has to and no more."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Identifier, Literal

from turnlog.infrastructure.store import locks
from turnlog.infrastructure.store.privileges import OF_A_SESSION, grants, needed
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.statements import Statements, packaged

LOCK_MS = 300
"""Milliseconds that a lock of a table is waited for: less than `deadlock_timeout`, so that no append is ever the
victim."""

_ONLY_OWN = SQL("coalesce({}::boolean, (select relrowsecurity from pg_catalog.pg_class where oid = {}::regclass))")
"""Whether the reader is to see one user's rows alone."""


@dataclass(frozen=True)
class Roles:
    """The names of the roles. `owner` makes and upgrades the tables, `application` records and reads, `reader` looks at
    the tables and changes nothing."""

    owner: str = "turnlog_owner"
    application: str = "turnlog_application"
    reader: str = "turnlog_reader"


def role_statements(statements: Statements, roles: Roles, row_security: bool | None = None) -> Composed:
    """The statements that make the roles where they are missing, and give each its rights on the tables that are
    there; for one transaction. `row_security` turns row-level security on or off; None leaves it as it is."""
    schema, events = statements.schema, statements.events
    names = {
        "schema": Identifier(schema),
        "schema_literal": Literal(Identifier(schema).as_string()),
        "positions": Identifier(f"{events}_positions"),
        "sessions_literal": Literal(Identifier(schema, "turnlog_sessions").as_string()),
        "of_a_session": _of_a_session(schema, events),
        "only_own": _ONLY_OWN.format(Literal(row_security), Literal(Identifier(schema, events).as_string())),
    }
    for kind in ("owner", "application", "reader"):
        name = getattr(roles, kind)
        names |= {kind: Identifier(name), f"{kind}_literal": Literal(name)}
    of_the_log = [right for right in needed(events) if right.kind != "function"]
    granted = SQL(";\n\n").join(grants(of_the_log, schema, roles.application))
    made, secured = (SQL(packaged(name)).format(**names) for name in ("roles.sql", "row_security.sql"))
    return SQL("{}\n{};\n\n{}").format(made, granted, secured)


def make_roles(recorder: BatchRecorder, roles: Roles, row_security: bool | None = None) -> bool:
    """Makes the roles and gives them their rights, as `role_statements` says. Returns whether row-level security is on.

    Raises the library's PersistenceErrors: OperationalError while a table is in use; it can be tried again.
    """
    with recorder.datastore.transaction(commit=True) as cursor:
        locks.hold_schema(cursor)
        cursor.execute(SQL("set local lock_timeout = {}").format(LOCK_MS))
        cursor.execute(role_statements(recorder.statements, roles, row_security), prepare=False)
        cursor.execute(recorder.statements["row_security"])
        row = cursor.fetchone()
        return bool(row and row["is_on"])


def _of_a_session(schema: str, events: str) -> Composed:
    return SQL(", ").join(
        SQL("({}, {})").format(Literal(Identifier(schema, table.format(events=events)).as_string()), Literal(column))
        for table, column in OF_A_SESSION.items()
    )
