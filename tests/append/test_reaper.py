"""The reaper: steps whose writer is gone are ended once, and no others are."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support.database import rows
from tests.support.owners import Owner
from tests.support.sessions import answer, ends, steps
from tests.support.writers import BRIEF, begun, die
from turnlog import SessionLog, Settings, StoreUnavailableError
from turnlog.infrastructure.store.leases import Lapsed


async def test_the_reaper_ends_what_is_open_without_a_writer_and_nothing_else(
    brief_log: SessionLog, log: SessionLog
) -> None:
    dead, ended = [await brief_log.start_session("u1") for _ in range(2)]
    completion = await begun(dead, "half")
    await answer(ended, "whole")
    living = await log.start_session("u1")
    alive = await begun(living, "goes on")
    await die(brief_log)
    assert await log.reap() == ()
    await asyncio.sleep(BRIEF)

    assert [step.step_id for step in await log.reap(dry_run=True)] == [completion.step_id]
    assert (await steps(dead))[0].status == "open"
    (reaped,) = await log.reap()
    assert (reaped.session_id, reaped.step_id, reaped.pid) == (dead.id, completion.step_id, os.getpid())
    assert await log.reap() == ()
    (step,) = await steps(log.session(dead.id, "u1"))
    assert (step.status, step.note, step.message.content) == ("abandoned", "the writer's lease ran out", "half")
    await alive.finish()
    assert await ends(living) == [("finished", "goes on")]
    assert await ends(ended) == [("finished", "whole")]


async def test_several_reapers_at_once_end_a_step_once(settings: Settings, brief_log: SessionLog) -> None:
    sessions = [await brief_log.start_session("u1") for _ in range(10)]
    for session in sessions:
        await begun(session, "half")
    await die(brief_log)
    await asyncio.sleep(BRIEF)
    async with SessionLog.open(settings) as one, SessionLog.open(settings) as two:
        reaped = await asyncio.gather(one.reap(), two.reap(), one.reap())
        assert await one.reap() == ()
        # Each log reaps by itself, too, when it is opened.
        assert {step.session_id for steps in reaped for step in steps} <= {session.id for session in sessions}
        for session in sessions:
            topics = [event.topic async for event in one.session(session.id, "u1").events()]
            assert topics.count("completion-abandoned.v1") == 1


@pytest.mark.parametrize("when", ["it is opened", "it stays open"])
async def test_an_open_log_reaps_by_itself(settings: Settings, brief_log: SessionLog, when: str) -> None:
    session = await brief_log.start_session("u1")
    await begun(session, "half")
    await die(brief_log)
    if when == "it is opened":
        await asyncio.sleep(BRIEF)
    async with SessionLog.open(settings.model_copy(update={"reap_seconds": 60 if when == "it is opened" else 0.1})):
        for _ in range(200):
            if (await steps(session))[0].status != "open":
                break
            await asyncio.sleep(0.05)
    assert await ends(session) == [("abandoned", "half")]


async def test_a_note_of_a_step_that_is_not_open_is_removed(settings: Settings, log: SessionLog) -> None:
    """As a process of before there were leases leaves it, when it ends a step that it did not begin."""
    session = await log.start_session("u1")
    await session.say("hi")
    rows(settings, "update turnlog_sessions set writer = 'gone'")
    assert await log.reap() == ()
    assert rows(settings, "select writer from turnlog_sessions") == [(None,)]


async def test_leases_of_long_ago_are_removed_unless_they_left_something_open(
    settings: Settings, log: SessionLog
) -> None:
    rows(
        settings,
        """insert into turnlog_writers (writer_id, expires_at, host, pid)
        values ('old', now() - interval '2 days', 'h', 1), ('new', now(), 'h', 1)""",
    )
    await log.reap()
    assert rows(settings, "select writer_id from turnlog_writers") == [("new",)]


async def test_a_deleted_session_is_none_of_the_reapers(
    settings: Settings, brief_log: SessionLog, log: SessionLog
) -> None:
    session = await brief_log.start_session("u1")
    await begun(session, "half")
    await die(brief_log)
    await log.delete_session(session.id, "u1")
    assert rows(settings, "select writer from turnlog_sessions") == [(None,)]


async def test_of_several_reapers_each_step_is_reported_by_the_one_that_ended_it(
    settings: Settings, brief_log: SessionLog
) -> None:
    sessions = [await brief_log.start_session("u1") for _ in range(20)]
    for session in sessions:
        await begun(session, "half")
    await die(brief_log)
    await asyncio.sleep(BRIEF)
    unreaped = settings.model_copy(update={"reap_seconds": 0})
    async with SessionLog.open(unreaped) as one, SessionLog.open(unreaped) as two:
        reaped = await asyncio.gather(one.reap(), two.reap(), one.reap())
    assert sorted(step.session_id for found in reaped for step in found) == sorted(session.id for session in sessions)


async def test_a_session_that_cannot_be_read_is_not_in_the_way_of_the_reaper(settings: Settings) -> None:
    unreaped = settings.model_copy(update={"reap_seconds": 0})
    async with SessionLog.open(unreaped) as log, SessionLog.open(unreaped) as other:
        sessions = [await log.start_session("u1", session_id=UUID(int=number)) for number in (1, 2)]
        for session in sessions:
            await session.completion().__aenter__()
        with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
            connection.execute(f"set search_path to {settings.database_schema}".encode())
            connection.execute(
                "insert into turnlog_events values (%s, 3, 'newer.v1', '{}', nextval('turnlog_events_positions'))",
                (sessions[0].id,),
            )
            connection.execute("update turnlog_writers set expires_at = now() - interval '1 second'")

        assert [step.session_id for step in await other.reap()] == [sessions[1].id]


async def test_a_reaper_that_loses_postgres_says_so(log: SessionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lapsed(after: UUID, _limit: int) -> list[Lapsed]:
        return [Lapsed(UUID(int=1), "w", None, None, None)] if after == UUID(int=0) else []

    async def gone(_writers: Any) -> Any:
        raise StoreUnavailableError("gone")

    monkeypatch.setattr(log._parts.store.leases, "lapsed", lapsed)
    monkeypatch.setattr(log._parts.store.leases, "of", gone)
    with pytest.raises(StoreUnavailableError):
        await log.reap()


async def test_a_lease_whose_renewal_is_under_way_has_not_run_out(settings: Settings) -> None:
    unreaped = settings.model_copy(update={"reap_seconds": 0, "lease_seconds": 2})
    async with SessionLog.open(unreaped) as log, SessionLog.open(unreaped) as other:
        await (await log.start_session("u1")).completion().__aenter__()
        with psycopg.connect(settings.database_url or "") as renewal:
            renewal.execute(f"set search_path to {settings.database_schema}".encode())
            await asyncio.sleep(0.2)
            renewal.execute("update turnlog_writers set expires_at = clock_timestamp() + interval '30 seconds'")
            keeping = log._parts.lease._keeping
            assert keeping is not None
            keeping.cancel()
            await asyncio.sleep(2.2)
            reaping = asyncio.create_task(other.reap())
            await asyncio.sleep(0.3)
            renewal.commit()

        assert await reaping == ()


async def test_a_step_in_the_way_that_was_reaped_meanwhile_is_in_nobodys_way(
    settings: Settings, brief_log: SessionLog, log: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = await brief_log.start_session("u1")
    await begun(theirs, "half")
    await die(brief_log)
    rows(settings, "update turnlog_writers set expires_at = clock_timestamp()")
    look = log._parts.lease.others

    async def look_and_reap(writers: Any) -> Any:
        found = await look(writers)
        assert len(await log.reap()) == 1
        return found

    monkeypatch.setattr(log._parts.lease, "others", look_and_reap)
    ours = log.session(theirs.id, "u1")
    await answer(ours, "next")
    assert await ends(ours) == [("abandoned", "half"), ("finished", "next")]


async def test_the_reaper_ends_a_turn_whose_owner_died_between_two_steps(
    brief_log: SessionLog, log: SessionLog
) -> None:
    between, inside, living = [await log.start_session("u1") for _ in range(3)]
    for session in (between, inside, living):
        await session.say("Hi", message_id="m-1")
    await (await Owner.of(brief_log, between)).asks("c-1")
    died = await Owner.of(brief_log, inside)
    await died.begins()
    await (await Owner.of(log, living)).asks("c-1")
    assert await log.reap() == ()
    await asyncio.sleep(BRIEF)

    for dry_run in (True, False):
        reaped = {one.session_id: one for one in await log.reap(dry_run)}
        assert {one.session_id: (one.step_id, one.turn_id) for one in reaped.values()} == {
            between.id: (None, "m-1"),
            inside.id: (died.step_id, "m-1"),
        }
        assert {one.pid for one in reaped.values()} == {os.getpid()}
    assert await log.reap() == ()
    statuses = [(await log.session(one.id, "u1").view()).turns[-1].status for one in (between, inside, living)]
    assert statuses == ["abandoned", "abandoned", "running_tools"]
    topics = [event.topic async for event in log.session(inside.id, "u1").events()]
    assert topics[-2:] == ["completion-abandoned.v1", "turn-ended.v1"]
    # Somebody goes on with it.
    owner = await Owner.of(log, log.session(between.id, "u1"), "m-1")
    await owner.asks()
    await owner.ends()
    assert (await between.view()).turns[-1].status == "finished"


async def test_a_writer_with_a_turn_in_hand_and_no_step_keeps_the_row_of_its_lease(
    settings: Settings, brief_log: SessionLog
) -> None:
    session = await brief_log.start_session("u1")
    await session.say("Hi")
    await Owner.of(brief_log, session)
    rows(settings, "update turnlog_writers set expires_at = now() - interval '2 days'")
    await brief_log._parts.store.leases.forget_old()
    assert len(rows(settings, "select writer_id from turnlog_writers")) == 1
    (reaped,) = await brief_log.reap()
    assert (reaped.step_id, reaped.pid) == (None, os.getpid())
    assert rows(settings, "select writer, turn_status from turnlog_sessions") == [(None, "abandoned")]
