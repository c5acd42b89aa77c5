"""`turnlog rebuild NAME`"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

import click

from turnlog.infrastructure.cli.output import emit_json, stdout
from turnlog.infrastructure.cli.progress import progress_bar
from turnlog.infrastructure.cli.projections import find_projection
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.log import SessionLog

VIEWS = "views"


@click.command("rebuild")
@click.argument("name", metavar="NAME")
@json_option
@pass_globals
def rebuild(options: Globals, name: str, as_json: bool) -> None:
    """Build a projection anew from the first event on: `usage`, or `module:Class` for one of your own. `views` are the
    kept and cached views of all sessions.

    The new projection is built beside the old one, and replaces it when it has caught up. Readers read the old one
    until then, and writers go on. A rebuild that is interrupted changes nothing, and can be started again.
    """
    work = _rebuild_views if name == VIEWS else _rebuild_projection(name)
    began = time.perf_counter()
    done, what = options.run(work)
    seconds = time.perf_counter() - began
    if as_json:
        emit_json(json.dumps({"rebuilt": name, what: done, "seconds": round(seconds, 3)}))
    else:
        stdout().say(f"rebuilt {name}: {done:,} {what.replace('_', ' ')} in {seconds:.1f} s")


async def _rebuild_views(log: SessionLog) -> tuple[int, str]:
    with progress_bar("rebuilding views") as progress:
        return await log.rebuild_views(progress), "sessions"


def _rebuild_projection(name: str) -> Callable[[SessionLog], Awaitable[tuple[int, str]]]:
    projection = find_projection(name)

    async def work(log: SessionLog) -> tuple[int, str]:
        with progress_bar(f"rebuilding {projection.name}") as progress:
            return await log.projections.rebuild(projection, progress), "log_positions"

    return work
