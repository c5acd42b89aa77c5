"""`turnlog init`"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from turnlog.infrastructure.cli.output import emit_json, stdout
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.composition import opened_store, running_servers
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.statements import SCHEMA_VERSION
from turnlog.infrastructure.urls import masked


@click.command("init")
@json_option
@pass_globals
def initialise(options: Globals, as_json: bool) -> None:
    """Create the database schema, or bring an older one up to date.

    Safe to repeat, and to run several times at once.
    """
    done = asyncio.run(_initialise(options.settings()))
    if as_json:
        emit_json(json.dumps(done))
    else:
        stdout().say(f"{_outcome(done)} {done['schema_version']} in {done['database_url']}")


def _outcome(done: dict[str, Any]) -> str:
    if done["created"]:
        return "created schema"
    return f"upgraded schema {done['upgraded_from']} to" if done["upgraded_from"] else "there already: schema"


async def _initialise(settings: Settings) -> dict[str, Any]:
    async with running_servers(settings) as running, opened_store(running) as store:
        before = await store.schema.prepare()
    url = masked(running.database_url or "")
    return {
        "created": before is None,
        "upgraded_from": before if before is not None and before < SCHEMA_VERSION else None,
        "schema_version": SCHEMA_VERSION,
        "database_url": url,
    }
