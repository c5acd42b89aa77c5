"""The fourth part: many sessions at once, whose deltas share commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from turnlog.infrastructure.cli.output import Screen
from turnlog.infrastructure.demo.client import Answerer, recorded
from turnlog.infrastructure.demo.meter import Measured, Meter
from turnlog.infrastructure.demo.scene import Scene
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.testing.answers import Recorded


async def crowd(log: SessionLog, sessions: list[Session], scene: Scene, progress: Screen) -> Measured:
    """Records the same stream into all sessions at once. Shows a progress bar on a terminal."""
    async with recorded(lambda _: Recorded(scene.crowd)) as answerer:
        with _bar(progress, len(sessions) * len(scene.crowd.chunks)) as advance, Meter(log, len(sessions)) as meter:
            await asyncio.gather(*(_record(session, scene, answerer, meter, advance) for session in sessions))
    return meter.measured


async def _record(
    session: Session, scene: Scene, answerer: Answerer, meter: Meter, advance: Callable[[], None]
) -> None:
    await session.say(scene.long_answer.user)
    stream = await answerer.ask(await session.prompt())
    async for _ in meter.watch(session, stream):
        advance()


@contextmanager
def _bar(screen: Screen, total: int) -> Iterator[Callable[[], None]]:
    if not screen.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("          "), BarColumn(), MofNCompleteColumn(), TextColumn("deltas"), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
