"""Clients that read nothing while an answer is written: they hold up nobody, and cost a bounded number of bytes."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import httpx
import psutil
import pytest

from tests.support.served import as_user, lines
from tests.support.web_servers import WebServer
from turnlog import Session, SessionLog

TOKEN = "a-token-of-a-test"
NDJSON = {"accept": "application/x-ndjson"}
DELTA = "x" * 100_000
PER_CLIENT = 4_000_000
"""Bytes, of ten million that each of them has not read. A follower holds a page, and some are just being read."""


def server(log: SessionLog) -> WebServer:
    settings = log.settings
    given = {
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "TURNLOG_DATABASE_SCHEMA": settings.database_schema,
        "TURNLOG_SERVE_TOKENS": f"user:u1={TOKEN}",
    }
    return WebServer([sys.executable, "-m", "turnlog", "serve", "--port", "{port}"], given)


class SlowClient:
    """It asks for the deltas of a session, and reads nothing until it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def of(cls, session: Session, port: int) -> SlowClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
        head = f"GET /sessions/{session.id}/deltas HTTP/1.1\r\nHost: log\r\nAuthorization: Bearer {TOKEN}\r\n"
        writer.write(f"{head}Accept: application/x-ndjson\r\nConnection: close\r\n\r\n".encode())
        await reader.readuntil(b"\n")
        return cls(reader, writer)

    async def rest(self) -> int:
        """Reads all that is left; how many deltas of the answer there were."""
        return (await self._reader.read(-1)).count(DELTA.encode())

    async def leave(self) -> None:
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()


async def write(session: Session, deltas: int) -> None:
    await session.say("Much, please.", message_id=f"m-{session.id}")
    async with session.completion() as completion:
        for _ in range(deltas):
            await completion.text(DELTA)
        await completion.finish("stop")


async def check_quick(http: httpx.AsyncClient, session: Session, deltas: int) -> None:
    """Somebody who reads gets all of an answer while it is being written."""
    quick = asyncio.create_task(http.get(f"/sessions/{session.id}/deltas", headers=NDJSON))
    await write(session, deltas)
    told = lines((await quick).text)
    assert told[-1]["status"] == "finished"
    assert sum(len(one["text"]) for one in told if one["kind"] == "text") == deltas * len(DELTA)


@pytest.mark.parametrize(
    ("clients", "deltas"),
    [(40, 100), pytest.param(200, 400, marks=pytest.mark.long)],
    ids=["40 clients", "200 clients"],
)
async def test_clients_that_read_nothing_hold_up_nobody_and_cost_a_bounded_number_of_bytes(
    log: SessionLog, clients: int, deltas: int
) -> None:
    first, session = await log.start_session(user_id="u1"), await log.start_session(user_id="u1")
    with server(log) as serving:
        port = int(serving.url.rpartition(":")[2])
        (process,) = [one for one in psutil.Process().children() if str(port) in one.cmdline()]
        async with httpx.AsyncClient(base_url=serving.url, headers=as_user(TOKEN), timeout=60, trust_env=False) as http:
            await check_quick(http, first, deltas)  # what an answer takes without them
            slow = [await SlowClient.of(session, port) for _ in range(clients)]
            before = process.memory_info().rss
            await check_quick(http, session, deltas)
        assert process.memory_info().rss - before < clients * PER_CLIENT
        rest = await asyncio.gather(*(one.rest() for one in slow[:3]))
        assert rest == [deltas] * 3
        await asyncio.gather(*(one.leave() for one in slow))
