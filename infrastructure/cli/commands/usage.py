"""`turnlog usage`"""

from __future__ import annotations

from datetime import date

import click
from rich.table import Table

from turnlog.infrastructure.cli.output import Screen, emit_json, one_line, stdout
from turnlog.infrastructure.cli.progress import progress_bar, told_when_interrupted
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.projections.usage import TOKEN_PATHS
from turnlog.projections.usage_report import DIMENSIONS, Dimension, UsageReport, UsageRow


@click.command("usage")
@click.option("--user", metavar="ID", help="Only the sessions of this user.")
@click.option("--model", metavar="NAME", help="Only this model.")
@click.option("--since", metavar="DAY", help="From this day on (UTC), such as 2026-11-24.")
@click.option("--until", metavar="DAY", help="Up to and including this day.")
@click.option(
    "--by",
    type=click.Choice(DIMENSIONS),
    multiple=True,
    help="One row for each; may be repeated.  [all three]",
)
@click.option("--no-catch-up", is_flag=True, help="Show what is known, without reading the newer events.")
@json_option
@pass_globals
def usage(
    options: Globals,
    user: str | None,
    model: str | None,
    since: str | None,
    until: str | None,
    by: tuple[Dimension, ...],
    no_catch_up: bool,
    as_json: bool,
) -> None:
    """Show tokens and steps by user, model and day (UTC). Deleted sessions count, copies in forks do not."""

    async def work(log: SessionLog) -> UsageReport:
        with progress_bar("catching up") as progress:
            return await log.usage(
                SYSTEM if user is None else user,
                model=model,
                since=since,
                until=until,
                by=by or DIMENSIONS,
                catch_up=not no_catch_up,
                progress=progress,
            )

    with told_when_interrupted(lambda: "what was counted is kept; the same command goes on"):
        report = options.run(work)
    if as_json:
        emit_json(report.model_dump_json())
    else:
        _show(stdout(), report)


def _show(screen: Screen, report: UsageReport) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=len(report.rows) > 1, footer_style="bold")
    for number, dimension in enumerate(report.by):
        table.add_column(dimension, footer="" if number else "total", no_wrap=True, overflow="ellipsis", max_width=30)
    for name in _NUMBERS:
        table.add_column(name.removesuffix("_tokens"), footer=f"{getattr(report.total, name):,}", justify="right")
    for row in report.rows:
        table.add_row(*(_value(row, dimension) for dimension in report.by), *_numbers(row))
    if report.rows:
        screen.print(table)
    lag = f", {report.events_behind:,} events behind" if report.events_behind else ""
    screen.say(f"up to log position {report.log_position:,}{lag}", style="dim")


def _value(row: UsageRow, dimension: Dimension) -> str:
    value: str | date | None = row.user_id if dimension == "user" else getattr(row, dimension)
    return "-" if value is None else one_line(str(value))


def _numbers(row: UsageRow) -> list[str]:
    return [f"{getattr(row, name):,}" for name in _NUMBERS]


_NUMBERS = ("steps", *TOKEN_PATHS)
