"""`turnlog list`"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import click
from rich.cells import cell_len
from rich.table import Table

from turnlog.domain.turns import TurnStatus
from turnlog.infrastructure.cli.output import Screen, counted, emit_json, one_line, stdout
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.cli.times import ago
from turnlog.infrastructure.log import MAX_PAGE, SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.projections.view import SessionPage, SessionSummary

HEADER = ("id", "title", "user", "updated", "turn", "version")
LEAST_TITLE, LEAST_USER, MOST_USER = 8, 4, 20


@click.command("list")
@click.option("--user", metavar="ID", help="Only the sessions of this user.")
@click.option("--limit", type=click.IntRange(1, MAX_PAGE), default=50, show_default=True, help="How many to list.")
@click.option("--cursor", metavar="CURSOR", help="Go on where the page ended that has named this cursor.")
@click.option("--all", "every", is_flag=True, help="All pages, one after the other.")
@click.option(
    "--offset", type=click.IntRange(min=0), default=0, show_default=True, help="How many to skip; all of them are read."
)
@click.option(
    "--status",
    type=click.Choice(get_args(TurnStatus)),
    multiple=True,
    help="Only sessions whose latest turn has this status; can be given several times.",
)
@json_option
@pass_globals
def listing(
    options: Globals,
    user: str | None,
    limit: int,
    cursor: str | None,
    every: bool,
    offset: int,
    status: tuple[TurnStatus, ...],
    as_json: bool,
) -> None:
    """List sessions, newest activity first, with the status of the latest turn where it is known.

    A page ends with the cursor of the next one, which costs as much as the first one. With --json a page is one line,
    with its `next_cursor`.
    """
    principal = SYSTEM if user is None else user

    async def work(log: SessionLog) -> None:
        next_cursor, skipped, shown = cursor, offset, 0
        while True:
            page = await log.list_sessions(principal, limit, skipped, status or None, cursor=next_cursor)
            next_cursor, skipped, shown = page.next_cursor, 0, shown + len(page.items)
            if as_json:
                emit_json(page.model_dump_json())
            elif not every:
                _show(stdout(), page, offset)
            elif page.items:
                stdout().print(_table(page, stdout().width))
            if not every or next_cursor is None:
                break
        if every and not as_json:
            stdout().say(counted(shown, "session"), style="dim")

    options.run(work)


def _show(screen: Screen, page: SessionPage, offset: int) -> None:
    if page.items:
        screen.print(_table(page, screen.width))
    if page.total is None:
        screen.say(counted(len(page.items), "session"), style="dim")
    else:
        shown = f"{offset + 1} to {offset + len(page.items)} of " if 0 < len(page.items) < page.total else ""
        screen.say(f"{shown}{counted(page.total, 'session')}", style="dim")
    if page.next_cursor is not None:
        screen.say(f"more: --cursor {page.next_cursor}", style="dim")


def _table(page: SessionPage, width: int) -> Table:
    now = datetime.now(UTC)
    rows = [_row(item, now) for item in page.items]
    longest = [max(map(cell_len, column)) for column in zip(HEADER, *rows, strict=True)]
    room = width - sum(longest) + longest[1] + longest[2] - 2 * (len(HEADER) - 1)
    has_version = room >= LEAST_TITLE + LEAST_USER
    title, user = _shares(room if has_version else room + longest[5] + 2, longest[2])
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(HEADER[0], no_wrap=True)
    table.add_column(HEADER[1], no_wrap=True, overflow="ellipsis", max_width=title)
    table.add_column(HEADER[2], no_wrap=True, overflow="ellipsis", max_width=user)
    table.add_column(HEADER[3], no_wrap=True)
    table.add_column(HEADER[4], no_wrap=True)
    if has_version:
        table.add_column(HEADER[5], justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row[: len(table.columns)])
    return table


def _row(item: SessionSummary, now: datetime) -> tuple[str, ...]:
    title = one_line(item.title) if item.title is not None else "-"
    user = one_line(item.user_id) if item.user_id is not None else "-"
    return str(item.session_id), title, user, ago(item.updated_at, now), item.turn_status or "-", str(item.version)


def _shares(room: int, longest_user: int) -> tuple[int, int]:
    """The widths of title and user, which are shortened so that a narrow terminal has room for the other columns."""
    title = max(LEAST_TITLE, room - min(longest_user, MOST_USER))
    return title, max(LEAST_USER, min(room - title, MOST_USER))
