"""The roles of a log, by which each program may do what it has to and no more."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Identifier, Literal

from turnlog.infrastructure.store import locks
from turnlog.infrastructure.store.privileges import grants, needed
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.statements import Statements, packaged


@dataclass(frozen=True)
class Roles:
    """The names of the roles. `owner` makes and upgrades the tables, `application` records and reads, `reader` looks at
    the tables and changes nothing."""

    owner: str = "turnlog_owner"
    application: str = "turnlog_application"
    reader: str = "turnlog_reader"


def role_statements(statements: Statements, roles: Roles) -> Composed:
    """The statements that make the roles where they are missing, and give each its rights on the tables that are
    there."""
    schema, events = statements.schema, statements.events
    names = {
        "schema": Identifier(schema),
        "schema_literal": Literal(Identifier(schema).as_string()),
        "positions": Identifier(f"{events}_positions"),
    }
    for kind in ("owner", "application", "reader"):
        name = getattr(roles, kind)
        names |= {kind: Identifier(name), f"{kind}_literal": Literal(name)}
    of_the_log = [right for right in needed(events) if right.kind != "function"]
    granted = SQL(";\n\n").join(grants(of_the_log, schema, roles.application))
    return SQL("{}\n{};\n").format(SQL(packaged("roles.sql")).format(**names), granted)


def make_roles(recorder: BatchRecorder, roles: Roles) -> None:
    """Makes the roles, and gives them their rights. Raises the library's PersistenceErrors."""
    with recorder.datastore.transaction(commit=True) as cursor:
        locks.hold_schema(cursor)
        cursor.execute(role_statements(recorder.statements, roles), prepare=False)
