"""`turnlog doctor`"""

from __future__ import annotations

import asyncio
import json

import click
from rich.text import Text

from turnlog.infrastructure.cli.doctor import Diagnosis, examine
from turnlog.infrastructure.cli.output import Screen, emit_json, stdout
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.cli.transcript import print_block


@click.command("doctor")
@json_option
@pass_globals
@click.pass_context
def doctor(context: click.Context, options: Globals, as_json: bool) -> None:
    """Show what is connected, its versions and settings, what is wrong, and what to do about it.

    Stores nothing in the log. Starts an embedded server for each URL that is not set. The exit code is 1 if something
    is wrong.
    """
    diagnosis = asyncio.run(examine(options.settings()))
    if as_json:
        emit_json(json.dumps(diagnosis.as_json()))
    else:
        _print(stdout(), diagnosis)
    context.exit(0 if diagnosis.is_fine else 1)


def _print(screen: Screen, diagnosis: Diagnosis) -> None:
    for name, facts in diagnosis.facts.items():
        screen.say(name, style="bold")
        width = max(map(len, facts), default=0)
        for label, value in facts.items():
            screen.print(
                Text.assemble("  ", (label.replace("_", " ").ljust(width + 2), "dim"), _text(value)), soft_wrap=True
            )
    screen.say("")
    for note in diagnosis.notes:
        print_block(screen, "note", note, "cyan")
    for problem in diagnosis.problems:
        print_block(screen, "problem", problem.what, "bold red")
        print_block(screen, "", problem.advice)
    if diagnosis.is_fine:
        screen.say("all is well", style="green")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
