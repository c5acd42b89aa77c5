"""Leases: who counts as alive, for how long, and what becomes of the steps of who does not. Each log is a writer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.support.prompt_rules import check_chat_prompt
from turnlog import Session, SessionLog, Settings, StepClosedError, TurnInProgressError
from turnlog.domain import events as e
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.clock import now
from turnlog.projections.view import Step

BRIEF = 0.6
"""Seconds: long enough to be renewed on a busy machine, short enough to wait for."""


@pytest.fixture
async def brief_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """A log whose lease runs out soon."""
    async with SessionLog.open(settings.model_copy(update={"lease_seconds": BRIEF, "reap_seconds": 0})) as opened:
        yield opened


async def begun(session: Session, *texts: str) -> Completion:
    """A step that is open; whoever keeps it writes it."""
    completion = await session.completion().__aenter__()
    for text in texts:
        await completion.text(text)
    return completion


async def answer(session: Session, text: str, **options: Any) -> None:
    async with session.completion(**options) as completion:
        await completion.text(text)
        await completion.finish("stop")


async def die(log: SessionLog) -> None:
    """What a kill does to a writer: it is not heard of again, and its steps stay open."""
    lease = log._parts.lease
    lease._live.clear()
    lease._unended.clear()
    if lease._keeping is not None:
        lease._keeping.cancel()
        await asyncio.wait([lease._keeping])


async def steps(session: Session) -> list[Step]:
    return [step for turn in (await session.view()).turns for step in turn.steps]


async def ends(session: Session) -> list[tuple[str, Any]]:
    return [(step.status, step.message.content) for step in await steps(session)]


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"set search_path to {settings.database_schema}")
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


# Alive


@pytest.mark.parametrize("takeover", [False, True])
async def test_a_completion_is_refused_while_another_log_writes_and_the_refusal_says_who_and_since_when(
    brief_log: SessionLog, log: SessionLog, takeover: bool
) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "First")
    ours = log.session(theirs.id, "u1")
    with pytest.raises(TurnInProgressError) as refused:
        await answer(ours, "Second", takeover=takeover)
    refusal, (step,) = refused.value, await steps(ours)
    assert (refusal.step_id, refusal.since) == (completion.step_id, step.started_at)
    assert (refusal.writer, refusal.pid) == (brief_log._parts.lease.writer_id, os.getpid())
    assert refusal.host in str(refusal)
    assert refusal.until is not None
    assert 0 < (refusal.until - datetime.now(UTC)).total_seconds() <= BRIEF
    await completion.text(" goes on")
    await completion.finish()
    assert await ends(ours) == [("finished", "First goes on")]


async def test_a_lease_is_renewed_for_as_long_as_a_step_takes(brief_log: SessionLog, log: SessionLog) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "slow")
    await asyncio.sleep(3 * BRIEF)
    with pytest.raises(TurnInProgressError):
        await answer(log.session(theirs.id, "u1"), "Second")
    assert await log.reap() == ()
    await completion.text("ly")
    await completion.finish()
    assert await ends(theirs) == [("finished", "slowly")]


async def test_the_refusal_in_the_same_log_names_the_process(session: Session) -> None:
    completion = await begun(session, "First")
    with pytest.raises(TurnInProgressError, match=f"by process {os.getpid()}") as refused:
        await answer(session, "Second", takeover=True)
    assert refused.value.step_id == completion.step_id
    await completion.finish()


async def test_steps_of_one_log_have_one_lease_and_one_that_only_reads_has_none(
    settings: Settings, log: SessionLog
) -> None:
    reading = await log.start_session("u1")
    await reading.say("hi")
    await reading.view()
    assert rows(settings, "select * from turnlog_writers") == []
    completions = [await begun(await log.start_session("u1"), "x") for _ in range(3)]
    assert rows(settings, "select writer_id from turnlog_writers") == [(log._parts.lease.writer_id,)]
    assert len(rows(settings, "select * from turnlog_sessions where writer is not null")) == 3
    for completion in completions:
        await completion.finish()
    assert rows(settings, "select * from turnlog_sessions where writer is not null") == []


async def test_no_delta_asks_for_the_lease(log: SessionLog, session: Session) -> None:
    completion = await begun(session)
    asked: list[str] = []
    fetch = log._parts.store.recorder.fetch
    log._parts.store.recorder.fetch = lambda name, *params: (asked.append(name), fetch(name, *params))[1]  # type: ignore[method-assign]
    for _ in range(50):
        await completion.text("x")
    await completion.finish()
    async with session.completion() as second:
        await second.finish()
    assert asked == []


async def test_a_log_that_is_closed_ends_what_is_open_and_its_lease(settings: Settings, log: SessionLog) -> None:
    async with SessionLog.open(settings) as closing:
        session = await closing.start_session("u1")
        await begun(session, "half")
    ours = log.session(session.id, "u1")
    assert await ends(ours) == [("interrupted", "half")]
    assert rows(settings, "select * from turnlog_writers") == []


# Gone


async def test_once_the_lease_has_run_out_the_next_completion_abandons_the_step(
    brief_log: SessionLog, log: SessionLog
) -> None:
    theirs = await brief_log.start_session("u1")
    await begun(theirs, "half")
    await die(brief_log)
    ours = log.session(theirs.id, "u1")
    with pytest.raises(TurnInProgressError):
        await answer(ours, "too early")
    await asyncio.sleep(BRIEF)
    await answer(ours, "next")
    assert await ends(ours) == [("abandoned", "half"), ("finished", "next")]
    check_chat_prompt(await ours.prompt())


async def test_a_takeover_waits_until_the_lease_has_run_out(brief_log: SessionLog, log: SessionLog) -> None:
    theirs = await brief_log.start_session("u1")
    await begun(theirs, "half")
    await die(brief_log)
    ours = log.session(theirs.id, "u1")
    async with asyncio.timeout(5 * BRIEF):
        async for _ in ours.record(stream("next"), takeover=True):
            pass
    assert await ends(ours) == [("abandoned", "half"), ("finished", "next")]


async def test_a_takeover_of_a_step_that_its_writer_ends_is_refused_for_it_was_alive(
    brief_log: SessionLog, log: SessionLog
) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "First")
    taking = asyncio.create_task(answer(log.session(theirs.id, "u1"), "Second", takeover=True))
    await asyncio.sleep(0.1)  # short of the renewal that would show it alive
    await completion.finish()
    with pytest.raises(TurnInProgressError) as refused:
        await taking
    assert refused.value.step_id == completion.step_id
    assert await ends(theirs) == [("finished", "First")]


async def test_of_several_that_take_over_one_does_and_the_others_are_refused(
    brief_log: SessionLog, settings: Settings, log: SessionLog
) -> None:
    theirs = await brief_log.start_session("u1")
    await begun(theirs, "half")
    await die(brief_log)
    async with SessionLog.open(settings) as second, SessionLog.open(settings) as third:
        takers = [each.session(theirs.id, "u1") for each in (log, second, third)]
        outcomes = await asyncio.gather(
            *(answer(taker, "next", takeover=True) for taker in takers), return_exceptions=True
        )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType"] + ["TurnInProgressError"] * 2
    assert await ends(log.session(theirs.id, "u1")) == [("abandoned", "half"), ("finished", "next")]


async def stream(*texts: str) -> AsyncIterator[dict[str, Any]]:
    for text in texts:
        yield {"choices": [{"delta": {"content": text}}]}


async def test_a_step_without_a_writer_of_before_there_were_leases_is_in_nobodys_way(
    settings: Settings, log: SessionLog, session: Session
) -> None:
    await begun(session, "old")
    await die(log)
    # As the topic's old golden file has it: without the fields.
    rows(settings, "alter table turnlog_events disable trigger turnlog_immutable")
    rows(
        settings,
        """update turnlog_events set state = convert_to(
            (convert_from(state, 'utf8')::jsonb - 'writer' - 'lease_seconds')::text, 'utf8'
        ) where topic = 'completion-started.v1'""",
    )
    async with SessionLog.open(settings) as other:
        ours = other.session(session.id, "u1")
        await answer(ours, "new")
        assert await ends(ours) == [("abandoned", "old"), ("finished", "new")]


async def test_a_writer_that_slept_past_its_lease_gives_its_steps_up_and_comes_back_under_another_id(
    settings: Settings, brief_log: SessionLog, log: SessionLog
) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "half")
    before = brief_log._parts.lease.writer_id
    rows(settings, "update turnlog_writers set expires_at = clock_timestamp()")  # as if it had slept
    await asyncio.sleep(BRIEF)
    with pytest.raises(StepClosedError):
        await completion.text(" more")
    assert await ends(log.session(theirs.id, "u1")) == [("abandoned", "half")]
    await answer(theirs, "again")
    assert brief_log._parts.lease.writer_id != before
    assert await ends(theirs) == [("abandoned", "half"), ("finished", "again")]


async def test_a_lease_that_lapsed_while_nothing_was_open_harms_nothing(brief_log: SessionLog) -> None:
    session = await brief_log.start_session("u1")
    await answer(session, "one")
    await asyncio.sleep(2 * BRIEF)
    await answer(session, "two")
    assert await ends(session) == [("finished", "one"), ("finished", "two")]


async def test_what_the_old_writer_has_under_way_at_a_takeover_is_refused_and_nothing_of_it_is_stored(
    settings: Settings, brief_log: SessionLog, log: SessionLog
) -> None:
    theirs = await brief_log.start_session("u1")
    completion = await begun(theirs, "half")
    rows(settings, "update turnlog_writers set expires_at = clock_timestamp()")
    ours = log.session(theirs.id, "u1")
    await answer(ours, "next")
    outcomes = await asyncio.gather(*(completion.text("late") for _ in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StepClosedError}
    assert await ends(ours) == [("abandoned", "half"), ("finished", "next")]


async def test_of_many_logs_that_take_over_at_once_one_gets_the_step(settings: Settings, brief_log: SessionLog) -> None:
    theirs = await brief_log.start_session("u1")
    await begun(theirs, "half")
    await die(brief_log)
    await asyncio.sleep(BRIEF)

    async def take_over(number: int) -> str:
        async with SessionLog.open(settings) as log:
            try:
                async with log.session(theirs.id, "u1").completion(takeover=False) as completion:
                    await completion.text(str(number))
                    await together.wait()
                    await completion.finish("stop")
            except TurnInProgressError:
                await together.wait()
                return "refused"
            return "won"

    together = asyncio.Barrier(5)
    outcomes = await asyncio.gather(*(take_over(number) for number in range(5)))
    assert sorted(outcomes) == ["refused"] * 4 + ["won"]
    assert [status for status, _ in await ends(theirs)] == ["abandoned", "finished"]


# The reaper


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


async def test_an_end_that_could_not_be_stored_is_given_up_with_the_lease(
    settings: Settings, brief_log: SessionLog, log: SessionLog
) -> None:
    theirs, lease = await brief_log.start_session("u1"), brief_log._parts.lease
    completion, before = await begun(theirs, "half"), lease.writer_id
    lease.left(completion.step_id)
    end = e.CompletionFinished(at=now(), step_id=completion.step_id, finish_reason="stop")
    lease._unended[completion.step_id] = (theirs._aggregate, end)  # as where Postgres was away
    rows(settings, "update turnlog_writers set expires_at = clock_timestamp()")
    assert lease._keeping is not None
    await lease._keeping
    assert lease.writer_id != before
    assert await ends(log.session(theirs.id, "u1")) == [("open", "half")]
