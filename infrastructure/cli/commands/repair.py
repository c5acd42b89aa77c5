"""`turnlog repair ID | --all | --user U`"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import click
from rich.table import Table

from turnlog.domain.errors import SessionNotFoundError, StoreUnavailableError, TurnlogError
from turnlog.domain.events import RepairWithdrawn, SessionRepaired
from turnlog.infrastructure.cli.output import Screen, counted, emit_json, printable, stderr, stdout
from turnlog.infrastructure.cli.progress import counting_bar, told_when_interrupted
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM, Principal
from turnlog.infrastructure.repair.concurrent import each
from turnlog.projections.report import RepairReport

NO_REPAIR = "No repair applies to this session."


@click.command("repair")
@click.argument("session_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="Repair all sessions.")
@click.option("--user", metavar="ID", help="Repair all sessions of this user.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, but store nothing.")
@click.option("--undo", is_flag=True, help="Withdraw the latest repair of the session instead.")
@json_option
@pass_globals
def repair(
    options: Globals, session_id: str | None, every: bool, user: str | None, dry_run: bool, undo: bool, as_json: bool
) -> None:
    """Correct what is wrong with a session's history, by one event that names each correction.

    The events stay as they are, and --undo withdraws a repair. With --all or --user, several sessions are repaired at
    once, and a table sums up the faults. A session that fails is named with the reason, the others go on, and the exit
    code is 1. With --json, there is one line for each session that was corrected or that failed.
    """
    if [session_id is not None, every, user is not None].count(True) != 1:
        raise click.UsageError("Give one of: the ID of a session, --all, --user.")
    if undo and session_id is None:
        raise click.UsageError("--undo is for one session.")
    if undo:
        _undo(options, session_id or "", dry_run, as_json)
        return
    summary = _Summary()

    async def work(log: SessionLog) -> None:
        if session_id is not None:
            report = await log.repair(session_id, SYSTEM, dry_run)
            emit_json(report.model_dump_json()) if as_json else _print_report(stdout(), report)
        else:
            await _repair_many(log, SYSTEM if every or user is None else user, dry_run, as_json, summary)

    what = "looked at" if dry_run else "done; the same command goes on"
    with told_when_interrupted(lambda: f"{counted(summary.corrected + summary.healthy, 'session')} {what}"):
        options.run(work)


def _undo(options: Globals, session_id: str, dry_run: bool, as_json: bool) -> None:
    if dry_run:
        found = options.run(lambda log: _latest_repair(log, session_id))
        _print_would_withdraw(session_id, found, as_json)
        return
    withdrawn = options.run(lambda log: log.undo_repair(session_id, SYSTEM))
    if as_json:
        emit_json(json.dumps({"session_id": session_id, "withdrawn": withdrawn}))
    else:
        stdout().say("The latest repair is withdrawn." if withdrawn else NO_REPAIR)


async def _latest_repair(log: SessionLog, session_id: str) -> SessionRepaired | None:
    """The repair that --undo would withdraw."""
    repairs: dict[str, SessionRepaired] = {}
    async for recorded in (await log.session(session_id, SYSTEM)).events():
        match recorded.event:
            case SessionRepaired() as repaired:
                repairs[repaired.repair_id] = repaired
            case RepairWithdrawn(repair_id=repair_id):
                repairs.pop(repair_id, None)
    return next(reversed(repairs.values()), None)


def _print_would_withdraw(session_id: str, found: SessionRepaired | None, as_json: bool) -> None:
    corrections = () if found is None else found.corrections
    if as_json:
        which = {
            "repair_id": found and found.repair_id,
            "corrections": [c.model_dump(mode="json") for c in corrections],
        }
        emit_json(json.dumps({"session_id": session_id, "withdrawn": False, "dry_run": True, **which}))
        return
    if found is None:
        stdout().say(NO_REPAIR)
        return
    for correction in corrections:
        stdout().say(f"{correction.position:>6}  {correction.fault}: {correction.text}")
    stdout().say(f"The latest repair would be withdrawn: {counted(len(corrections), 'correction')}.")


@dataclass
class _Summary:
    kinds: Counter[str] = field(default_factory=Counter)
    corrected: int = 0
    healthy: int = 0
    failed: list[tuple[UUID, str]] = field(default_factory=list)

    def add(self, report: RepairReport) -> None:
        self.kinds.update(correction.fault for correction in report.corrections)
        if report.corrections:
            self.corrected += 1
        else:
            self.healthy += 1


async def _repair_many(log: SessionLog, principal: Principal, dry_run: bool, as_json: bool, summary: _Summary) -> None:
    async def work(session_id: UUID) -> None:
        try:
            report = await log.repair(session_id, principal, dry_run)
        except SessionNotFoundError:
            pass  # deleted meanwhile
        except StoreUnavailableError:
            raise
        except TurnlogError as error:
            summary.failed.append((session_id, str(error)))
        else:
            summary.add(report)
            if as_json and report.corrections:
                emit_json(report.model_dump_json())
        advance()

    total = (await log.list_sessions(principal, 1, with_total=True)).total
    with counting_bar("repairing", total) as advance:
        await each(log.session_ids(principal), work)
    _print_failures(summary, as_json)
    if not as_json:
        _print_summary(stdout(), summary, dry_run)
    if summary.failed:
        raise click.exceptions.Exit(1)


def _print_failures(summary: _Summary, as_json: bool) -> None:
    for session_id, reason in summary.failed:
        stderr().say(f"{session_id}: {reason}", style="red")
        if as_json:
            emit_json(json.dumps({"session_id": str(session_id), "error": reason}))


def _print_report(screen: Screen, report: RepairReport) -> None:
    if not report.corrections:
        screen.say("Nothing to repair.", style="green")
        return
    for correction in report.corrections:
        screen.say(f"{correction.position:>6}  {correction.fault}: {correction.text}")
    screen.say("")
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in report.diff.split("\n"):
        screen.say(printable(line), style=styles.get(line[:1], ""))
    done = (
        "would be corrected" if report.dry_run else f"corrected; undo with: turnlog repair {report.session_id} --undo"
    )
    screen.say(f"\n{counted(len(report.corrections), 'fault')} {done}", style="dim")


def _print_summary(screen: Screen, summary: _Summary, dry_run: bool) -> None:
    table = Table("fault", "corrections")
    for kind, count in summary.kinds.most_common():
        table.add_row(kind, f"{count:,}")
    if summary.kinds:
        screen.print(table)
    what = "would be corrected" if dry_run else "corrected"
    failed = f", {len(summary.failed):,} failed" if summary.failed else ""
    screen.say(f"{counted(summary.corrected, 'session')} {what}, {summary.healthy:,} had nothing to repair{failed}")
