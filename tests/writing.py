"""A process that writes: sessions at once, each with steps of deltas. Says "ready", waits for a line, and says how
many events it has stored. Run as `python -m tests.writing SESSIONS STEPS DELTAS`, with the settings in the
environment."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings

USAGE = {"prompt_tokens": 7, "completion_tokens": 3}


async def write(sessions: int, steps: int, deltas: int) -> int:
    async with SessionLog.open() as log:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(converse(log, steps, deltas) for _ in range(sessions)))
        return log.writer_statistics.events


async def converse(log: SessionLog, steps: int, deltas: int) -> None:
    session = await log.start_session(user_id=f"u{os.getpid()}")
    for _ in range(steps):
        async with session.completion(model="m") as completion:
            for number in range(deltas):
                await completion.text(f"{number} ")
            await completion.finish("stop", usage=USAGE)


@contextmanager
def writers(
    settings: Settings, processes: int, *, sessions: int, steps: int, deltas: int
) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that write at once, from the start of the block on. `stored` waits for them."""
    command = [sys.executable, "-m", "tests.writing", str(sessions), str(steps), str(deltas)]
    started = [
        subprocess.Popen(
            command, env=environment(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for _ in range(processes)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def stored(processes: list[subprocess.Popen[str]]) -> int:
    """Waits for the processes, and says how many events they have stored."""
    return sum(int(process.communicate(timeout=60)[0]) for process in processes)


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a process that uses the servers of the settings."""
    return {
        **os.environ,
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "TURNLOG_DATABASE_SCHEMA": settings.database_schema,
    }


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(write(*map(int, sys.argv[1:])))}\n")
