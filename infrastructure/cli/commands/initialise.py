"""`turnlog init`"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

import click

from turnlog.infrastructure.cli.output import emit_json, stdout
from turnlog.infrastructure.cli.projections import BUILT_IN
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.composition import opened_store, running_servers
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.roles import Roles, make_roles, role_statements
from turnlog.infrastructure.store.statements import SCHEMA_VERSION, Statements
from turnlog.infrastructure.tables.catching_up import open_tables
from turnlog.infrastructure.urls import masked


@click.command("init")
@click.option("--roles", "with_roles", is_flag=True, help="Also make the roles, and give each its rights.")
@click.option(
    "--row-security/--no-row-security",
    default=None,
    help="With --roles: let the reader see one user's rows alone, or all rows again. Default: as it is.",
)
@click.option("--sql", "only_sql", is_flag=True, help="Print the statements of --roles, and do nothing.")
@click.option("--owner-role", metavar="NAME", default=Roles.owner, show_default=True)
@click.option("--application-role", metavar="NAME", default=Roles.application, show_default=True)
@click.option("--reader-role", metavar="NAME", default=Roles.reader, show_default=True)
@json_option
@pass_globals
def initialise(
    options: Globals,
    with_roles: bool,
    row_security: bool | None,
    only_sql: bool,
    owner_role: str,
    application_role: str,
    reader_role: str,
    as_json: bool,
) -> None:
    """Create the database schema and the tables of the built-in projections, or bring older ones up to date.

    With --roles also three roles, and the rights of each. The owner makes and upgrades the tables. The application
    records and reads: it makes no tables, and changes no events. The reader looks at the tables, and changes nothing.
    They can log in once they have a password.

    With --row-security the reader sees the sessions of one user alone, and what belongs to them. It names the user by
    `set turnlog.principal = 'ID'`; before that it sees no rows. It stays on until it is turned off.

    Safe to repeat, and to run several times at once.
    """
    if row_security is not None and not (with_roles or only_sql):
        raise click.UsageError("--row-security belongs to --roles.")
    settings = options.settings()
    roles = Roles(owner_role, application_role, reader_role)
    if only_sql:
        statements = role_statements(Statements(settings.database_schema), roles, row_security)
        stdout().say(f"begin;\n\n{statements.as_string()}\ncommit;")
        return
    done = asyncio.run(_initialise(settings, roles if with_roles else None, row_security))
    if as_json:
        emit_json(json.dumps(done))
    else:
        stdout().say(f"{_outcome(done)} {done['schema_version']} in {done['database_url']}")
        for kind, name in (done["roles"] or {}).items():
            stdout().say(f"{kind}: the role {name}")
        if done["row_security"]:
            stdout().say("row-level security is on: the reader sees the rows of the user in turnlog.principal")


def _outcome(done: dict[str, Any]) -> str:
    if done["created"]:
        return "created schema"
    return f"upgraded schema {done['upgraded_from']} to" if done["upgraded_from"] else "there already: schema"


async def _initialise(settings: Settings, roles: Roles | None, row_security: bool | None) -> dict[str, Any]:
    async with running_servers(settings) as running, opened_store(running) as store:
        before, is_on = await store.schema.prepare(), None
        for projection in BUILT_IN.values():
            await open_tables(store, projection())
        if roles is not None:
            is_on = await store.run(make_roles, store.recorder, roles, row_security)
    return {
        "created": before is None,
        "upgraded_from": before if before is not None and before < SCHEMA_VERSION else None,
        "schema_version": SCHEMA_VERSION,
        "database_url": masked(running.database_url or ""),
        "roles": asdict(roles) if roles else None,
        "row_security": is_on,
    }
