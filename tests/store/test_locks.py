"""Nothing is held once an append has ended, however it ended."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.support.sessions import contents
from turnlog import Session, SessionLog, Settings, StoreError
from turnlog.infrastructure.store.store import EventStore

ENDED = {
    "by the sequence": "alter sequence {schema}.turnlog_events_positions cache 1",
    "by the table": "lock table {schema}.turnlog_events in access exclusive mode",
    "by a session's line": "lock table {schema}.turnlog_sessions in access exclusive mode",
    "by its keys": "lock table {schema}.turnlog_keys in access exclusive mode",
}

CANCEL = """
select pg_cancel_backend(pid) from pg_stat_activity
where query like '%turnlog_events_append%' and pid <> pg_backend_pid()
"""


def advisory_locks(settings: Settings) -> int:
    with psycopg.connect(settings.database_url or "") as connection:
        row = connection.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()
        return row[0] if row else -1


@pytest.mark.parametrize("ended", ENDED)
async def test_an_append_that_was_ended_while_it_waited_holds_nothing(
    log: SessionLog, session: Session, settings: Settings, other_log: SessionLog, ended: str
) -> None:
    theirs = await other_log.start_session("u1")
    with psycopg.connect(settings.database_url or "") as admin:
        admin.execute(ENDED[ended].format(schema=settings.database_schema).encode())
        waiting = asyncio.create_task(session.say("waits"))
        await asyncio.sleep(0.3)
        with psycopg.connect(settings.database_url or "", autocommit=True) as other:
            other.execute(CANCEL)
        await asyncio.sleep(0.2)
        admin.rollback()
    await asyncio.wait([waiting])
    assert waiting.exception() is None or isinstance(waiting.exception(), StoreError)

    await asyncio.wait_for(theirs.say("goes on"), 3)
    assert advisory_locks(settings) == 0
    assert contents((await theirs.view()).messages) == ["goes on"]


async def test_a_sequence_is_mended_while_others_append(log: SessionLog, settings: Settings) -> None:
    sessions = [await log.start_session("u1") for _ in range(20)]
    store = EventStore(settings.database_url or "", schema=settings.database_schema)

    async def mend() -> None:
        for _ in range(30):
            await store.run(store.recorder.mend_positions)

    await asyncio.gather(mend(), *(session.say(f"{n}") for n in range(10) for session in sessions))
    await store.close()
    positions = [event.log_position for session in sessions async for event in session.events()]
    assert len(set(positions)) == len(positions) == 20 + 200
    assert advisory_locks(settings) == 0
