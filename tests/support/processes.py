"""Processes of their own for tests that say process: they can be killed, frozen, and be many.

A `Child` runs a program of `programs`: `async def program(line: Line, settings: Settings, ...)`. It is forked from a
server that has done the imports, so it is up within some ten milliseconds. A `Command` is `turnlog` as a shell runs it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from turnlog.infrastructure.settings import Settings

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "turnlog.infrastructure.log",
        "turnlog.infrastructure.store.store",
        "turnlog.infrastructure.store.group_commit",
        "redis.asyncio",
        "tests.support.programs",
    ]
)


class Line:
    """The child's end: what it says arrives also if it is killed in the next moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def say(self, value: Any) -> None:
        """Says something to the test. Blocks while the test does not listen and the pipe is full."""
        self._connection.send(value)

    async def hear(self) -> Any:
        """What the test says next."""
        return await asyncio.to_thread(self._connection.recv)


Program = Callable[..., Awaitable[None]]


class Child:
    """A process that runs a program. Leaving the block kills it if it still runs."""

    def __init__(self, program: Program, *arguments: Any) -> None:
        self._connection, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_run, args=(program, theirs, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
        self._connection.close()

    async def hear(self) -> Any:
        """What the child says next. Raises EOFError once it is gone and all was heard."""
        return await asyncio.to_thread(self._hear)

    async def until(self, wanted: Any) -> list[Any]:
        """What the child says, up to this."""
        said = [await self.hear()]
        while said[-1] != wanted:
            said.append(await self.hear())
        return said

    async def rest(self) -> list[Any]:
        """All that the child says until it is gone."""
        return await asyncio.to_thread(self._rest)

    def say(self, value: Any) -> None:
        """Says something to the child."""
        self._connection.send(value)

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._process.kill()
        self._process.join()

    async def left(self) -> int | None:
        """Waits until the child has ended by itself; its exit code."""
        await asyncio.to_thread(self._process.join, 60)
        return self._process.exitcode

    def _hear(self) -> Any:
        return self._connection.recv()

    def _rest(self) -> list[Any]:
        heard = []
        with suppress(EOFError, ConnectionError):
            while True:
                heard.append(self._connection.recv())
        return heard


def _run(program: Program, connection: Connection, arguments: tuple[Any, ...]) -> None:
    async def run() -> None:
        await program(Line(connection), *arguments)

    asyncio.run(run())


class Command:
    """A command that runs, by the lines of its stdout."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """The next line that it prints; empty at its end."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().removesuffix("\n")

    async def rest(self) -> list[str]:
        """All that it still prints."""
        assert self._process.stdout is not None
        return (await self._process.stdout.read()).decode().splitlines()

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    async def left(self) -> int:
        """Waits until it has ended by itself; its exit code."""
        return await self._process.wait()


@asynccontextmanager
async def turnlog(settings: Settings, *args: str) -> AsyncIterator[Command]:
    """Runs the command line on the test's own database. Leaving the block kills it if it still runs."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("turnlog"),
        *("--database-url", str(settings.database_url), "--redis-url", str(settings.redis_url)),
        *args,
        env={**os.environ, "TURNLOG_DATABASE_SCHEMA": settings.database_schema},
        stdout=asyncio.subprocess.PIPE,
        # Where the tests run in the background of a script, Ctrl-C is ignored, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield Command(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
