"""The command line on a test's own database, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from click.testing import Result

from turnlog import Session, SessionLog, Settings

STREAMS = Path(__file__).parents[1] / "data" / "streams"
NOBODYS = "00000000-0000-4000-8000-000000000000"

Json = dict[str, Any]
Run = Callable[..., Result]
Work = Callable[[SessionLog], Awaitable[str]]
Started = Callable[[Work], str]


def where(settings: Settings) -> list[str]:
    """The options that lead a command to the test's servers."""
    return ["--database-url", str(settings.database_url), "--redis-url", str(settings.redis_url)]


def on_a_log(settings: Settings, work: Work) -> str:
    """Does some work on a log, and returns what it returns: the id of a session."""

    async def opened() -> str:
        async with SessionLog.open(settings) as log:
            return await work(log)

    return asyncio.run(opened())


async def harbour(log: SessionLog) -> str:
    """A session with all that a transcript can show."""
    session = await log.start_session(user_id="u1", title="At the harbour", metadata={"berth": 7})
    await session.add_message("system", "Be brief.")
    await session.say("Tide and wind?")
    async with session.completion(model="m-1") as completion:
        await completion.reasoning("Two tools, then.")
        await completion.text("I will look.")
        await completion.tool_call("c1", "get_tide", '{"port": "Lagos"}')
        await completion.tool_call("c2", "get_wind", "{}")
        await completion.finish("tool_calls", usage={"prompt_tokens": 7, "completion_tokens": 5})
    await session.add_tool_result("c1", "low water at six", status="pending")
    await session.add_tool_result("c2", "no such station", status="error")
    await session.say("Go on.")
    with suppress(RuntimeError):
        await _fail(session)
    await session.increment("tides", "Lagos", 2)
    return str(session.id)


async def _fail(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("It is")
        raise RuntimeError("the line went dead")


def lines_of(text: str) -> list[Json]:
    """What a command has printed, a JSON object a line."""
    return [json.loads(line) for line in text.splitlines()]


def write_lines(file: Path, *lines: Any) -> None:
    """Writes a JSONL file."""
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
