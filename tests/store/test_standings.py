"""The question where sessions stand: what it costs Postgres, and what a process knows of owners."""

from __future__ import annotations

import time
from uuid import uuid4

import psycopg
from psycopg.pq import Format

from turnlog import SYSTEM, SessionLog, Settings
from turnlog.infrastructure.read.asked import AskedAccess
from turnlog.infrastructure.store import arrays
from turnlog.infrastructure.store.standings import PARAMETER_TYPES

CUSTOM_AT_FIRST = 5
"""Plans that Postgres makes for their parameters before it considers one for all."""


async def test_the_question_is_planned_once_for_one_session_and_for_many(log: SessionLog, settings: Settings) -> None:
    sessions = [await log.start_session("u1") for _ in range(3)]
    statement = log._parts.store.recorder.statements["standings"].as_string()
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.pgconn.prepare(b"standings", statement.encode(), PARAMETER_TYPES)
        for count in [1] * 12 + [3] * 12:
            ids = [session.id.bytes for session in sessions[:count]]
            asked = [arrays.uuids(ids), arrays.int8s([1] * count)]
            connection.pgconn.exec_prepared(b"standings", asked, [Format.BINARY] * 2, Format.BINARY)
        plans = connection.execute("select custom_plans, generic_plans from pg_prepared_statements").fetchone()
    assert plans == (CUSTOM_AT_FIRST, 24 - CUSTOM_AT_FIRST)


async def test_a_session_is_expected_to_be_the_principals_when_it_was_when_it_was_asked_for_last(
    log: SessionLog,
) -> None:
    store, mine = log._parts.store, await log.start_session("u1")
    nobodys = await log.start_session(None)
    for session_id in (mine.id, nobodys.id, uuid4()):
        assert not AskedAccess(store, session_id, "u1").is_expected
        assert AskedAccess(store, session_id, SYSTEM).is_expected
        await store.standing(session_id)
    assert AskedAccess(store, mine.id, "u1").is_expected
    assert not AskedAccess(store, mine.id, "u2").is_expected
    assert not AskedAccess(store, nobodys.id, "u1").is_expected
    await log.delete_session(mine.id, "u1")
    await store.standing(mine.id)
    assert not AskedAccess(store, mine.id, "u1").is_expected


async def test_a_question_ends_in_the_time_of_its_call_though_others_have_more(settings: Settings) -> None:
    seconds, left = 5.0, [0.6, 0.2, 0.4]
    async with SessionLog.open(settings.model_copy(update={"store_timeout_seconds": seconds})) as log:
        session, ask = await log.start_session("u1"), log._parts.store.standings.ask
        with psycopg.connect(settings.database_url or "") as blocker:
            blocker.execute(f"lock table {settings.database_schema}.turnlog_events".encode())
            began = time.monotonic()
            first = ask(session.id)
            late = [ask(session.id, since=began - seconds + each) for each in left]
            for each in sorted(left):
                assert await late[left.index(each)] is None
                assert each <= time.monotonic() - began < seconds - 1  # the machine may be busy
            assert not first.done()
        standing = await first
        assert standing is not None
        assert standing.user_id == "u1"
