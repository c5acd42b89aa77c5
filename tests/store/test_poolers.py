"""A pooler between a log and Postgres: a transaction may meet another server process than the one before it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.support.poolers import PGBOUNCER, KeyMaker, pgbouncer
from tests.support.recording import numbers
from tests.support.sessions import ends
from turnlog import PoolerError, ProjectionError, SessionLog, Settings
from turnlog.infrastructure.tables.usage import UsageProjection

PREPARED = re.compile(rb"P.{4}_pg3_", re.DOTALL)
"""A statement that psycopg has given a name. It calls savepoints so, too; they are gone with their transaction."""

# It is a server of its own, in no wheel: where it is not installed, the examination's own tests stand for it.
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


@pytest.fixture
def key_maker(settings: Settings) -> Iterator[KeyMaker]:
    running = KeyMaker(settings.database_url or "")
    yield running
    running.close()


async def use_all(settings: Settings, workers: int) -> None:
    """Records from several logs at once, reads, and keeps, rebuilds and reads a projection."""
    async with AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(SessionLog.open(settings)) for _ in range(workers)]
        sessions = [await log.start_session("u1") for log in logs for _ in range(4)]

        async def record(number: int) -> None:
            session = sessions[number]
            await session.say("Hello")
            async for _ in session.record(numbers(20)):
                pass

        await asyncio.gather(*map(record, range(len(sessions))))
        assert {text for session in sessions for _, text in await ends(session)} == {
            "".join(f"{number} " for number in range(20))
        }
        worker = logs[-1].projections.worker(UsageProjection())
        running = asyncio.create_task(worker.run())
        assert len((await logs[0].usage("u1")).rows) == 1
        await logs[0].projections.rebuild(UsageProjection())
        worker.stop()
        await running


@needs_pgbouncer
@pytest.mark.owner
@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_a_log_works_behind_a_pooler(settings: Settings, mode: str) -> None:
    with pgbouncer(settings.database_url or "", mode) as url:
        await use_all(settings.model_copy(update={"database_url": url}), workers=3 if mode == "transaction" else 1)


@needs_pgbouncer
async def test_a_pooler_of_single_statements_is_refused_by_name(settings: Settings) -> None:
    with pgbouncer(settings.database_url or "", "statement") as url:
        with pytest.raises(PoolerError, match="pools single statements") as refusal:
            async with SessionLog.open(settings.model_copy(update={"database_url": url, "store_timeout_seconds": 1})):
                pass
        assert "pool_mode = transaction" in refusal.value.hint


@pytest.mark.owner
async def test_nothing_is_prepared_where_the_server_process_is_not_the_one_that_answered(
    settings: Settings, key_maker: KeyMaker
) -> None:
    await use_all(settings.model_copy(update={"database_url": key_maker.url}), workers=1)
    assert b"turnlog_events_append" in key_maker.sent
    assert b"turnlog_append\0" not in key_maker.sent
    assert PREPARED.search(key_maker.sent) is None


@pytest.mark.owner
async def test_two_rebuilds_of_one_projection_exclude_each_other_by_a_lock_of_a_transaction(
    log: SessionLog, other_log: SessionLog, settings: Settings
) -> None:
    await log.start_session("u1")
    outcomes = await asyncio.gather(
        *(each.projections.rebuild(UsageProjection()) for each in (log, other_log)), return_exceptions=True
    )
    assert sorted(type(outcome) for outcome in outcomes if isinstance(outcome, Exception)) in ([], [ProjectionError])
