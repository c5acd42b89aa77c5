"""The examination of a database when a log is opened: whether it can hold the log, with one sentence and a hint where
it cannot.

What each single connection says of itself is looked at in `connecting`. `turnlog doctor` examines in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from eventsourcing.persistence import PersistenceError
from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from turnlog.domain.errors import (
    MissingPrivilegeError,
    PoolerError,
    ReadOnlyDatabaseError,
    SchemaVersionError,
    UnfitDatabaseError,
)
from turnlog.infrastructure.store.privileges import OF_A_SESSION, Right, grants, needed
from turnlog.infrastructure.store.statements import SCHEMA_VERSION, Statements

_FACTS = """
select pg_is_in_recovery() as is_standby, current_setting('transaction_read_only') = 'on' as is_read_only,
    current_user::text as user, current_database()::text as database,
    has_database_privilege(current_database(), 'create') as may_create_schema,
    n.oid is not null as has_schema, coalesce(has_schema_privilege(n.oid, 'usage'), false) as may_use,
    coalesce(has_schema_privilege(n.oid, 'create'), false) as may_create,
    t.oid is not null as has_tables, coalesce(pg_has_role(t.relowner, 'usage'), false) as is_owner
from (select 1) as always
left join pg_namespace n on n.nspname = %(schema)s
left join pg_class t on t.relnamespace = n.oid and t.relname = 'turnlog_schema' and t.relkind in ('r', 'p')
"""

_LACKS = """
select needed.kind, needed.name, needed.privilege
from unnest(%(kinds)s::text[], %(names)s::text[], %(privileges)s::text[]) with ordinality
    as needed (kind, name, privilege, number)
join pg_namespace n on n.nspname = %(schema)s
where exists (select from pg_class c where c.relnamespace = n.oid and c.relname = needed.name and
    case needed.kind when 'table' then not has_table_privilege(c.oid, needed.privilege)
    when 'sequence' then not has_sequence_privilege(c.oid, needed.privilege) else false end)
or exists (select from pg_proc p where needed.kind = 'function' and p.pronamespace = n.oid and p.proname = needed.name
    and not has_function_privilege(p.oid, needed.privilege))
order by needed.number
"""

_HIDDEN = """
select c.relname as name, (
    select min(pg_get_userbyid(role)) from pg_policy p cross join unnest(p.polroles) as role
    where p.polrelid = c.oid and p.polcmd = '*' and role <> 0
) as role
from unnest(%(tables)s::text[]) as needed (name)
join pg_namespace n on n.nspname = %(schema)s
join pg_class c on c.relnamespace = n.oid and c.relname = needed.name
where row_security_active(c.oid) and not exists (
    select from pg_policy p cross join unnest(p.polroles) as role
    where p.polrelid = c.oid and p.polcmd = '*' and pg_get_expr(p.polqual, p.polrelid) = 'true'
    and (role = 0 or pg_has_role(role, 'usage'))
)
limit 1
"""

_TO_THE_PRIMARY = (
    "Point DATABASE_URL at the primary; or name all hosts in it, with the option target_session_attrs=read-write"
)
_NOT_READ_ONLY = "Set default_transaction_read_only = off for this user and this database"
_BY_THE_OWNER = "Run `turnlog init` once as a user that may, with --roles to give this one its rights; or"
_AS_APPLICATION = "Run `turnlog init --roles` with this user as the application's role"


class Hidden(NamedTuple):
    """A table of which row-level security hides rows from the user; and a role that sees them all, if there is one."""

    name: str
    role: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the database says of itself and of its user. `lacks` are rights that the user does not have in a schema that
    is there."""

    user: str
    database: str
    is_standby: bool = False
    is_read_only: bool = False
    may_create_schema: bool = True
    has_schema: bool = False
    may_use: bool = True
    may_create: bool = True
    has_tables: bool = False
    is_owner: bool = True
    version: int | None = None
    log_id: str = ""
    lacks: tuple[Right, ...] = ()
    hidden: Hidden | None = None


def read_facts(cursor: Cursor[DictRow], statements: Statements) -> Facts:
    """The facts, in a transaction that is under way."""
    schema = {"schema": statements.schema}
    found: dict[str, Any] = cursor.execute(_FACTS, schema).fetchone() or {}
    if not (found["has_tables"] and found["may_use"]):
        return Facts(**found)
    rights = needed(statements.events)
    kinds, names, privileges = (list(column) for column in zip(*rights, strict=True))
    cursor.execute(_LACKS, {"kinds": kinds, "names": names, "privileges": privileges, **schema})
    lacks = tuple(Right(**row) for row in cursor.fetchall())
    if Right("table", "turnlog_schema", "select") in lacks:
        return Facts(**found, lacks=lacks)
    row = cursor.execute(statements["schema_version"]).fetchone() or {}
    tables = [name.format(events=statements.events) for name in OF_A_SESSION]
    cursor.execute(_HIDDEN, {"tables": tables, **schema})
    hidden = next((Hidden(**row) for row in cursor.fetchall()), None)
    version, log_id = row.get("version"), str(row.get("log_id", ""))
    return Facts(**found, lacks=lacks, hidden=hidden, version=version, log_id=log_id)


def fault_of(facts: Facts, schema: str) -> UnfitDatabaseError | SchemaVersionError | None:
    """What keeps a log from being opened. None where nothing does."""
    if facts.is_standby:
        return ReadOnlyDatabaseError("the server is a standby, which takes no writes", _TO_THE_PRIMARY)
    if facts.is_read_only:
        return ReadOnlyDatabaseError(f"the database {facts.database} is read-only for {facts.user}", _NOT_READ_ONLY)
    if facts.version is not None and facts.version > SCHEMA_VERSION:
        return SchemaVersionError(
            f"the database has turnlog schema {facts.version}, this version needs {SCHEMA_VERSION}: upgrade turnlog"
        )
    return _missing_privilege(facts, schema)


@contextmanager
def pooler_faults() -> Iterator[None]:
    """Raises PoolerError where a pooler refuses transactions."""
    try:
        yield
    except (PersistenceError, psycopg.Error) as error:
        if "statement pooling" not in str(error):
            raise
        raise PoolerError(
            "the pooler in front of Postgres pools single statements, and a log needs transactions",
            "Set pool_mode = transaction (or session) for it, or point DATABASE_URL at Postgres itself",
        ) from error


def _missing_privilege(facts: Facts, schema: str) -> MissingPrivilegeError | None:
    user, on_schema = Identifier(facts.user), Identifier(schema)
    if not facts.has_schema:
        grant = SQL("grant create on database {} to {}").format(Identifier(facts.database), user)
        what = f"there is no schema {schema}, and {facts.user} may not create one in the database {facts.database}"
        return None if facts.may_create_schema else _lacking(what, grant.as_string())
    if not facts.may_use:
        grant = SQL("grant usage on schema {} to {}").format(on_schema, user)
        return _lacking(f"{facts.user} may not use the schema {schema}", grant.as_string())
    if not facts.has_tables:
        grant = SQL("grant usage, create on schema {} to {}").format(on_schema, user)
        what = f"there are no tables of turnlog in the schema {schema}, and {facts.user} may not create them"
        return None if facts.may_create else _lacking(what, grant.as_string())
    if facts.lacks:
        statements = "; ".join(grant.as_string() for grant in grants(facts.lacks, schema, facts.user))
        first = facts.lacks[0]
        more = f", and {len(facts.lacks) - 1} more rights" if len(facts.lacks) > 1 else ""
        return _lacking(f"{facts.user} may not {first.privilege} {schema}.{first.name}{more}", statements)
    if facts.hidden:
        what = f"row-level security hides rows of {schema}.{facts.hidden.name} from {facts.user}"
        role = facts.hidden.role and SQL("grant {} to {}").format(Identifier(facts.hidden.role), user).as_string()
        return MissingPrivilegeError(what, f"{_AS_APPLICATION}; or: {role}" if role else _AS_APPLICATION)
    if (facts.version or 0) < SCHEMA_VERSION and not facts.is_owner:
        what = f"the database has turnlog schema {facts.version}, and {facts.user} does not own it"
        return MissingPrivilegeError(what, f"Run `turnlog init` as the owner: it brings the schema to {SCHEMA_VERSION}")
    return None


def _lacking(what: str, statements: str) -> MissingPrivilegeError:
    return MissingPrivilegeError(what, f"{_BY_THE_OWNER}: {statements}")
