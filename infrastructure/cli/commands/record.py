"""`turnlog record FILE`"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.cli.chunk_file import paced_chunks
from turnlog.infrastructure.cli.output import counted, emit_json, stderr, stdout
from turnlog.infrastructure.cli.shared import Globals, Seconds, json_option, pass_globals
from turnlog.infrastructure.cli.transcript import print_step
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.session import Session
from turnlog.projections.view import Step


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was recorded. `error` says why the file was not read to its end, if it was not."""

    session_id: str
    version: int
    step: Step
    chunks: int
    seconds: float
    error: TurnlogError | None


@click.command("record")
@click.argument("file", type=click.File("rb"))
@click.option("--session", "session_id", metavar="ID", help="Append to this session, instead of a new one.")
@click.option("--user", metavar="ID", help="The owner of the new session.")
@click.option("--title", help="The title of the new session.")
@click.option("--pace", type=Seconds(min=0), default=0.0, metavar="SECONDS", help="Seconds to wait before each chunk.")
@json_option
@pass_globals
def record(
    options: Globals,
    file: IO[bytes],
    session_id: str | None,
    user: str | None,
    title: str | None,
    pace: float,
    as_json: bool,
) -> None:
    """Record a stream from FILE (- is stdin) into a session, as one step. FILE has a chunk as JSON in each line, or is
    a file of server-sent events.

    A line that is not a chunk ends the step as failed; what came before it stays.
    """
    if session_id is not None and (user is not None or title is not None):
        raise click.UsageError("--user and --title are for a new session; --session names one that is there.")

    into: list[Session] = []

    async def work(log: SessionLog) -> Outcome:
        if session_id is None:
            session = await log.start_session(user_id=user, title=title)
        else:
            session = await log.session(session_id, SYSTEM)
        into.append(session)
        return await _record(session, file, pace)

    try:
        outcome = options.run(work)
    except KeyboardInterrupt:
        for session in into:  # without the id nobody would find again what was recorded
            stderr().say(f"interrupted: session {session.id} has what came so far")
        raise
    _print_json(outcome) if as_json else _print(outcome)
    if outcome.error is not None:
        raise outcome.error


async def _record(session: Session, file: IO[bytes], pace: float) -> Outcome:
    error: TurnlogError | None = None
    count, began = 0, time.perf_counter()
    with _progress(file) as advance:
        recording = session.record(paced_chunks(file, pace, advance))
        try:
            async for _ in recording:
                count += 1
        except TurnlogError as raised:
            error = raised
            await recording.aclose()
    seconds = time.perf_counter() - began
    view = await session.view()
    steps = [step for turn in view.turns for step in turn.steps if step.step_id == recording.step_id]
    if not steps:  # it was refused before it began
        raise error or AssertionError(recording.step_id)
    return Outcome(str(session.id), view.version, steps[0], count, seconds, error)


@contextmanager
def _progress(file: IO[bytes]) -> Iterator[Callable[[int], None]]:
    """A bar on stderr if that is a terminal, as a function to call with the bytes of each line."""
    screen = stderr()
    size = _size(file)
    columns = (TextColumn("recording"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=size)
        yield lambda read: progress.advance(task, read)


def _size(file: IO[bytes]) -> int | None:
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None


def _print(outcome: Outcome) -> None:
    screen = stdout()
    print_step(screen, outcome.step)
    rate = f"{counted(outcome.chunks, 'chunk')} in {outcome.seconds:.2f} s"
    screen.say(f"\nsession {outcome.session_id}, version {outcome.version}: {rate}", style="dim")


def _print_json(outcome: Outcome) -> None:
    step = outcome.step
    ended = {"step_id": step.step_id, "status": step.status, "finish_reason": step.finish_reason, "note": step.note}
    measured = {"chunks": outcome.chunks, "seconds": round(outcome.seconds, 3)}
    where = {"session_id": outcome.session_id, "version": outcome.version}
    error = {"error": str(outcome.error)} if outcome.error else {}
    emit_json(json.dumps({**where, **ended, **measured, **error}))
