"""The time of a call begins with the call, however many others wait for a thread."""

from __future__ import annotations

import asyncio
import time

import psycopg

from turnlog import SessionLog, Settings, StoreUnavailableError
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
