"""The time of a call begins with the call, however many others wait for a thread."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from turnlog import Session, SessionLog, Settings, StoreUnavailableError
from turnlog.infrastructure.store.commit_recovery import SHORTEST_ATTEMPT
from turnlog.infrastructure.store.datastore import _shut
from turnlog.infrastructure.store.store import READ_THREADS


async def test_a_call_ends_in_its_time_however_many_wait(settings: Settings) -> None:
    seconds = 1.0
    impatient = settings.model_copy(update={"store_timeout_seconds": seconds, "reap_seconds": 0})
    took: list[float] = []
    said: list[str] = []

    async def ask(log: SessionLog) -> None:
        began = time.monotonic()
        try:
            await log.list_sessions("u1")
        except StoreUnavailableError as error:
            took.append(time.monotonic() - began)
            said.append(str(error))

    async with SessionLog.open(impatient) as log:
        with psycopg.connect(settings.database_url or "") as blocker:
            blocker.execute(f"lock table {settings.database_schema}.turnlog_sessions".encode())
            await asyncio.gather(*(ask(log) for _ in range(10 * READ_THREADS)))
        assert len(took) == 10 * READ_THREADS
        assert max(took) < 1.5 * seconds
        assert any("no thread was free within 1 seconds" in text for text in said)
        async with asyncio.timeout(5):
            assert (await log.list_sessions("u1")).total == 0


CALLS: dict[str, Callable[[Session], Awaitable[Any]]] = {
    "say": lambda session: session.say("hi"),
    "view": lambda session: session.view(),
    "prompt": lambda session: session.prompt(),
    "say and view": lambda session: asyncio.gather(session.say("hi"), session.view()),
    "await": lambda session: session._checked(),
}


@pytest.mark.parametrize("locked", ["turnlog_events", "turnlog_sessions"])
@pytest.mark.parametrize("call", CALLS)
async def test_every_call_ends_in_its_time_while_postgres_waits(settings: Settings, locked: str, call: str) -> None:
    seconds, took = 0.8, list[float]()
    impatient = settings.model_copy(update={"store_timeout_seconds": seconds, "reap_seconds": 0})

    async def timed(session: Session) -> None:
        began = time.monotonic()
        with suppress(StoreUnavailableError):
            await CALLS[call](session)
        took.append(time.monotonic() - began)

    async with SessionLog.open(impatient) as log:
        sessions = [await log.start_session("u1") for _ in range(20)]
        with psycopg.connect(settings.database_url or "") as blocker:
            blocker.execute(f"lock table {settings.database_schema}.{locked}".encode())
            waiting = list[asyncio.Task[None]]()
            for _ in range(4):  # some come while others wait
                waiting += [asyncio.create_task(timed(session)) for session in sessions]
                await asyncio.sleep(seconds / 4)
            await asyncio.gather(*waiting)
        assert len(took) == 80
        assert max(took) < seconds + SHORTEST_ATTEMPT + 1.0  # the machine may be busy
        async with asyncio.timeout(5):
            await asyncio.gather(*(session.say("goes on") for session in sessions))


def test_a_connection_is_shut_at_its_deadline_also_where_no_descriptor_is_left(settings: Settings) -> None:
    _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with psycopg.connect(settings.database_url or "") as connection, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(connection.execute, "select pg_sleep(20)")
        while connection.info.transaction_status is not TransactionStatus.ACTIVE:
            time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            _shut(connection)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        with pytest.raises(psycopg.OperationalError):
            asked.result(timeout=5)
        connection.close()
