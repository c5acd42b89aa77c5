"""`turnlog cancel ID`"""

from __future__ import annotations

import json

import click

from turnlog.infrastructure.cli.output import emit_json, stdout
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals, session_argument
from turnlog.infrastructure.principal import SYSTEM


@click.command("cancel")
@session_argument
@click.option("--reason", default="stopped", show_default=True, help="The reason that the end of the step gives.")
@json_option
@pass_globals
def cancel(options: Globals, session_id: str, reason: str, as_json: bool) -> None:
    """Stop the answer that is being written, in any process. What was written stays."""
    cancelled = options.run(lambda log: log.session(session_id, SYSTEM).cancel(reason))
    if as_json:
        emit_json(json.dumps({"session_id": session_id, "cancelled": cancelled}))
    else:
        stdout().say("The answer is stopped." if cancelled else "Nothing is being answered.")
