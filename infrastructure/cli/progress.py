"""Progress on stderr: a bar if that is a terminal, and how far an interrupted command has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from turnlog.infrastructure.cli.output import stderr


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar, as a function to call with how much is done and of how much. The first call shows it."""
    screen = stderr()
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


@contextmanager
def counting_bar(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A bar, as a function that moves it on by one."""
    done = count(1)
    with progress_bar(what) as progress:
        yield lambda: progress(next(done), total)


@contextmanager
def told_when_interrupted(progress: Callable[[], str]) -> Iterator[None]:
    """Prints how far the work has come when Ctrl-C ends it."""
    try:
        yield
    except KeyboardInterrupt:
        stderr().say(f"interrupted: {progress()}")
        raise
