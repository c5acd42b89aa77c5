"""`turnlog reap`"""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext, suppress
from datetime import UTC, datetime

import click

from turnlog.infrastructure.cli.output import Screen, counted, emit_json, stdout
from turnlog.infrastructure.cli.shared import Globals, Seconds, json_option, pass_globals
from turnlog.infrastructure.cli.times import ago
from turnlog.infrastructure.log import SessionLog
from turnlog.projections.report import ReapedStep


@click.command("reap")
@click.option("--watch", type=Seconds(min=0.1), metavar="SECONDS", help="Seconds until it looks again, until Ctrl-C.")
@click.option("--dry-run", is_flag=True, help="Show what would be ended, and end nothing.")
@json_option
@pass_globals
def reap(options: Globals, watch: float | None, dry_run: bool, as_json: bool) -> None:
    """End the steps, and the turns, whose writers are gone: their leases have run out without a sign of life.

    An open SessionLog does this by itself, every reap_seconds. Safe to repeat, and to run several times at once. With
    --json, one step in each line, or one turn that was left between two steps (its step_id is null).
    """

    async def work(log: SessionLog) -> None:
        while True:
            _show(await log.reap(dry_run), dry_run, as_json, quiet=watch is not None)
            if watch is None:
                return
            await asyncio.sleep(watch)

    # With --watch, Ctrl-C is the normal end.
    with suppress(KeyboardInterrupt) if watch is not None else nullcontext():
        options.run(work)


def _show(reaped: tuple[ReapedStep, ...], dry_run: bool, as_json: bool, quiet: bool) -> None:
    if as_json:
        for step in reaped:
            emit_json(json.dumps({**step.model_dump(mode="json"), "dry_run": dry_run}))
        return
    screen = stdout()
    for step in reaped:
        _print(screen, step)
    if reaped or not quiet:
        what = "would be ended" if dry_run else "ended"
        screen.say(f"{_how_many(reaped)} {what} as abandoned", style="dim")


def _how_many(reaped: tuple[ReapedStep, ...]) -> str:
    turns = sum(one.step_id is None for one in reaped)
    steps = counted(len(reaped) - turns, "step")
    if not turns:
        return steps
    return f"{steps} and {counted(turns, 'turn')}" if turns < len(reaped) else counted(turns, "turn")


def _print(screen: Screen, step: ReapedStep) -> None:
    who = f"process {step.pid} on {step.host}" if step.pid is not None else "unknown"
    since = ago(step.since, datetime.now(UTC))
    what = f"turn {step.turn_id}" if step.step_id is None else f"step {step.step_id}"
    screen.say(f"session {step.session_id}  {what}, begun {since}  writer {step.writer}: {who}")
