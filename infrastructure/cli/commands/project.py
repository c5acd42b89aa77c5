"""`turnlog project [NAME...]`"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import click

from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.cli.failures import report
from turnlog.infrastructure.cli.output import emit_json, stderr, stdout
from turnlog.infrastructure.cli.progress import progress_bar
from turnlog.infrastructure.cli.projections import BUILT_IN, find_projection
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.tables.projection import Projection


@click.command("project")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--once", is_flag=True, help="Stop when they have caught up.")
@click.option("--drop", "unwanted", metavar="NAME", help="Drop this projection's tables and position instead.")
@click.option("--yes", is_flag=True, help="Do not ask before dropping.")
@json_option
@pass_globals
@click.pass_context
def project(
    context: click.Context,
    options: Globals,
    names: tuple[str, ...],
    once: bool,
    unwanted: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Keep projections up to date with the log until Ctrl-C or SIGTERM: all built-in ones, or those that are named,
    such as `usage`, or `module:Class` for one of your own.

    Safe to run several times at once. A projection that cannot apply an event stops and says which; the others go on,
    and the exit code is 1. With --json, each projection prints one line when it ends.

    --drop takes the name in the database (`questions`, not `module:Class`), because the class may not exist any more.
    A name that ends with `_new` drops what a failed rebuild has left. Stop the workers of the projection first, or they
    make its tables again.
    """
    if unwanted is not None and (names or once):
        raise click.UsageError("--drop is for one projection, and nothing else.")
    if unwanted is not None:
        _drop(options, unwanted, yes, as_json)
        return
    projections = [find_projection(name) for name in names or BUILT_IN]
    run = _catch_up if once else _keep_up
    outcomes = options.run(lambda log: run(log, projections, as_json))
    context.exit(0 if all(outcomes) else 1)


def _drop(options: Globals, name: str, yes: bool, as_json: bool) -> None:
    if not yes and sys.stdin.isatty():
        click.confirm(f"Drop the tables of projection {name}?", abort=True, err=True)
    tables = options.run(lambda log: log.projections.drop(name))
    if as_json:
        emit_json(json.dumps({"projection": name, "dropped": tables}))
    else:
        stdout().say(f"dropped {name}: {', '.join(tables) or 'its position; there were no tables'}")


async def _catch_up(log: SessionLog, projections: list[Projection], as_json: bool) -> list[bool]:
    outcomes = []
    for projection in projections:
        try:
            with progress_bar(projection.name) as progress:
                position = await log.projections.catch_up(projection, progress)
        except TurnlogError as error:
            report(error)
            outcomes.append(False)
        else:
            _say(projection, position, as_json)
            outcomes.append(True)
    return outcomes


async def _keep_up(log: SessionLog, projections: list[Projection], as_json: bool) -> list[bool]:
    workers = [log.projections.worker(projection) for projection in projections]

    def stop() -> None:
        for worker in workers:
            worker.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    stderr().say(f"keeping up: {', '.join(projection.name for projection in projections)}; Ctrl-C ends it", style="dim")

    async def run(number: int) -> bool:
        try:
            position = await workers[number].run()
        except TurnlogError as error:
            report(error)
            return False
        _say(projections[number], position, as_json)
        return True

    return await asyncio.gather(*map(run, range(len(workers))))


def _say(projection: Projection, position: int, as_json: bool) -> None:
    if as_json:
        emit_json(json.dumps({"projection": projection.name, "log_position": position}))
    else:
        stdout().say(f"{projection.name}: up to log position {position:,}")
