"""`turnlog list`"""

from __future__ import annotations

from datetime import UTC, datetime

import click
from rich.table import Table

from turnlog.infrastructure.cli.output import Screen, emit_json, one_line, stdout
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.cli.times import ago
from turnlog.infrastructure.log import MAX_PAGE
from turnlog.infrastructure.principal import SYSTEM
from turnlog.projections.view import SessionPage


@click.command("list")
@click.option("--user", metavar="ID", help="Only the sessions of this user.")
@click.option("--limit", type=click.IntRange(1, MAX_PAGE), default=50, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, show_default=True)
@json_option
@pass_globals
def listing(options: Globals, user: str | None, limit: int, offset: int, as_json: bool) -> None:
    """List sessions, newest activity first."""
    principal = SYSTEM if user is None else user
    page = options.run(lambda log: log.list_sessions(principal, limit, offset))
    if as_json:
        emit_json(page.model_dump_json())
    else:
        _show(stdout(), page, offset)


def _show(screen: Screen, page: SessionPage, offset: int) -> None:
    if page.items:
        screen.print(_table(page))
    shown = f"{offset + 1} to {offset + len(page.items)} of " if 0 < len(page.items) < page.total else ""
    screen.say(f"{shown}{page.total} {'session' if page.total == 1 else 'sessions'}", style="dim")


def _table(page: SessionPage) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True, min_width=36)
    table.add_column("title", no_wrap=True, overflow="ellipsis", ratio=None)
    table.add_column("user", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("updated", no_wrap=True, min_width=10)
    table.add_column("version", justify="right", no_wrap=True)
    now = datetime.now(UTC)
    for item in page.items:
        title = one_line(item.title) if item.title is not None else "-"
        user = one_line(item.user_id) if item.user_id is not None else "-"
        table.add_row(str(item.session_id), title, user, ago(item.updated_at, now), str(item.version))
    return table
