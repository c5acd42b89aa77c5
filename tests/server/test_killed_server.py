"""A serving process that is killed and started again under many clients of `turnlog.js`: all go on where they were."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.node import CLIENT, NODE, PROGRAMS, needs_node
from tests.support.web_servers import WebServer
from turnlog import Session, SessionLog

TOKEN = "a-token-of-a-test"
pytestmark = needs_node


def server(log: SessionLog) -> WebServer:
    settings = log.settings
    given = {
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "TURNLOG_DATABASE_SCHEMA": settings.database_schema,
        "TURNLOG_SERVE_TOKENS": f"user:u1={TOKEN}",
    }
    return WebServer([sys.executable, "-m", "turnlog", "serve", "--port", "{port}"], given)


async def write(session: Session, deltas: int, seconds: float) -> None:
    """An answer of a turn, over so many seconds."""
    async with session.completion(model="m") as completion:
        for number in range(deltas):
            await completion.text(f"{number} ")
            await asyncio.sleep(seconds / deltas)
        await completion.finish("stop")


async def started(url: str, clients: int, by: str, sessions: Sequence[Session]) -> asyncio.subprocess.Process:
    """The clients, when all of them follow."""
    command = [str(NODE), str(PROGRAMS / "follow.mjs"), str(CLIENT), url, TOKEN, str(clients), by]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, *(str(session.id) for session in sessions), stdout=pipe, limit=2**26
    )
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline()) == "ready"
    return process


async def heard(process: asyncio.subprocess.Process) -> list[dict[str, Any]]:
    """What each client was told."""
    assert process.stdout is not None
    said = [json.loads(line) async for line in process.stdout]
    assert await process.wait() == 0
    return said


@pytest.mark.parametrize(
    ("clients", "answers", "deltas", "kills", "by"),
    [
        pytest.param(100, 10, 60, 2, "sse", id="100 clients"),
        pytest.param(6, 2, 40, 1, "ndjson", id="lines"),
        pytest.param(6, 2, 40, 1, "poll", id="polls"),
        pytest.param(400, 40, 600, 8, "sse", id="400 clients", marks=pytest.mark.long),
    ],
)
async def test_all_clients_of_a_killed_server_go_on_and_miss_nothing(
    log: SessionLog, clients: int, answers: int, deltas: int, kills: int, by: str
) -> None:
    sessions = [await log.start_session(user_id="u1") for _ in range(answers)]
    for session in sessions:
        await session.say("Count.", message_id=f"m-{session.id}")
    with server(log) as serving:
        async with asyncio.timeout(60 + 10 * kills):
            following = await started(serving.url, clients, by, sessions)
            writing = [asyncio.create_task(write(session, deltas, 2.0 + 2.0 * kills)) for session in sessions]
            for _ in range(kills):
                await asyncio.sleep(1.0)
                await asyncio.to_thread(serving.kill)
                await asyncio.to_thread(serving.start)
            await asyncio.gather(*writing)
            told = await heard(following)
    assert len(told) == clients
    views = {str(session.id): json.loads((await session.view()).model_dump_json()) for session in sessions}
    for one in told:
        view = views[one["session"]]
        assert one["positions"] == list(range(one["began"] + 1, view["version"] + 1))
        assert one["view"] == view
        assert one["end"]["status"] == "finished"
