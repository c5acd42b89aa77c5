"""`turnlog show ID`"""

from __future__ import annotations

import click

from turnlog.infrastructure.cli.output import emit_json, stdout
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals, session_argument
from turnlog.infrastructure.cli.transcript import print_session
from turnlog.infrastructure.principal import SYSTEM


@click.command("show")
@session_argument
@json_option
@pass_globals
def show(options: Globals, session_id: str, as_json: bool) -> None:
    """Show a session as a transcript: its turns, their steps, and how each ended."""
    view = options.run(lambda log: log.session(session_id, SYSTEM).view())
    if as_json:
        emit_json(view.model_dump_json())
    else:
        print_session(stdout(), view)
