"""`turnlog export ID | --user U`"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import IO

import click

from turnlog.domain.errors import SessionNotFoundError
from turnlog.infrastructure.cli.output import counted, emit_json, stdout
from turnlog.infrastructure.cli.progress import progress_bar, told_when_interrupted
from turnlog.infrastructure.cli.shared import Globals, pass_globals
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.repair.exporting import EXPORT_FORMATS, ExportFormat


@dataclass
class _Outcome:
    sessions: int = 0


@click.command("export")
@click.argument("session_id", metavar="ID", required=False)
@click.option("--user", metavar="ID", help="Export all sessions of this user.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(EXPORT_FORMATS),
    default="turnlog",
    show_default=True,
    help="What to write.",
)
@click.option("--output", type=click.Path(dir_okay=False, allow_dash=True), help="Write to this file, not to stdout.")
@pass_globals
def export(
    options: Globals, session_id: str | None, user: str | None, format_: ExportFormat, output: str | None
) -> None:
    """Write the session ID, or all sessions of a user, as lines of JSON.

    `turnlog` is the events themselves: for each session a header, and a line for each event, which `turnlog import`
    takes back. The others have a line for each session, with its messages: valid for Chat Completions (chat), Anthropic
    and Responses, or as the UIMessage[] of the AI SDK (ui).
    """
    if (session_id is None) == (user is None):
        raise click.UsageError("Give an ID, or --user.")
    outcome = _Outcome()
    to_stdout = output in (None, "-")
    opened = nullcontext(None) if to_stdout else click.open_file(str(output), "w", encoding="utf-8")
    with (
        opened as file,
        told_when_interrupted(lambda: f"{counted(outcome.sessions, 'session')} exported, the last one in part"),
        progress_bar("exporting") as progress,
    ):
        write = _writer(file)
        if session_id is not None:
            options.run(lambda log: _one(log, session_id, format_, write, progress, outcome))
        else:
            options.run(lambda log: _all(log, str(user), format_, write, progress, outcome))
    if not to_stdout:
        stdout().say(f"{counted(outcome.sessions, 'session')} exported")


def _writer(file: IO[str] | None) -> Callable[[str], None]:
    if file is None:
        return emit_json
    return lambda line: print(line, file=file)


Progress = Callable[[int, int | None], None]


async def _one(
    log: SessionLog,
    session_id: str,
    format_: ExportFormat,
    write: Callable[[str], None],
    progress: Progress,
    outcome: _Outcome,
) -> None:
    """Its progress is in events."""
    outcome.sessions += 1
    async for line in log.export_session(session_id, SYSTEM, format_, progress):
        write(line)


async def _all(
    log: SessionLog,
    user: str,
    format_: ExportFormat,
    write: Callable[[str], None],
    progress: Progress,
    outcome: _Outcome,
) -> None:
    """Their progress is in sessions."""
    total = (await log.list_sessions(user, 1, with_total=True)).total or 0
    async for session_id in log.session_ids(user):
        outcome.sessions += 1
        try:
            async for line in log.export_session(session_id, user, format_):
                write(line)
        except SessionNotFoundError:  # it was deleted meanwhile
            outcome.sessions -= 1
        progress(outcome.sessions, max(total, outcome.sessions))
