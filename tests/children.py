"""Real processes for tests: a line of Python on the test's own database, which says on stdout how far it is."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from turnlog import Settings

RECORD = """
import asyncio, sys
from turnlog import SessionLog, Settings

async def provider(count, pause):
    try:
        for number in range(count):
            await asyncio.sleep(pause)
            yield {"choices": [{"index": 0, "delta": {"content": f"{number} "}}]}
    finally:
        print("closed", flush=True)

async def main(session_id, count, pause):
    async with SessionLog.open(Settings.from_env()) as log:
        recording = log.session(session_id, "u1").record(provider(int(count), float(pause)))
        try:
            async for chunk in recording:
                print(chunk["choices"][0]["delta"]["content"], flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)
    print("ended", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""
"""ID COUNT PAUSE: records that many deltas; a line for each that is shown, "closed" for its provider, "ended"."""

FOLLOW = """
import asyncio, sys
from turnlog import SessionLog, Settings

async def main(session_id, count):
    async with SessionLog.open(Settings.from_env()) as log:
        session = log.session(session_id, "u1")

        async def positions(after):
            return [recorded.position async for recorded in session.follow(after, until_turn_ends=True)]

        following = asyncio.gather(*(positions(0) for _ in range(int(count))))
        await asyncio.sleep(0)
        await session.view()
        print("following", flush=True)
        seen = await following
    print(len(seen), all(one == seen[0] for one in seen), *seen[0], flush=True)

asyncio.run(main(*sys.argv[1:]))
"""
"""ID COUNT: that many followers until the turn ends; "following", then their number, whether all saw the same, what."""


class Child:
    """A child process, by its lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """The next line that it says; empty at its end."""
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().removesuffix("\n")

    async def until(self, wanted: str) -> list[str]:
        """The lines up to this one."""
        said: list[str] = []
        while not said or said[-1] != wanted:
            said.append(await self.line())
            assert said[-1] or said[-2:] != ["", ""], f"it ended before it said {wanted!r}: {said}"
        return said

    async def rest(self) -> list[str]:
        """All that it still says."""
        assert self.process.stdout is not None
        return (await self.process.stdout.read()).decode().splitlines()


@asynccontextmanager
async def child(code: str, settings: Settings, *args: Any) -> AsyncIterator[Child]:
    """Runs the code in a process of its own, which ends with the block."""
    places = {
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "TURNLOG_DATABASE_SCHEMA": settings.database_schema,
        "TURNLOG_CACHE_PREFIX": settings.cache_prefix,
        "TURNLOG_STORE_TIMEOUT_SECONDS": str(settings.store_timeout_seconds),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *map(str, args), env={**os.environ, **places}, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Child(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]
