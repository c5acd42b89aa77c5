"""Usage over the whole log is what the views say, told apart by user, model and day."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from tests.support.appends import held_back
from tests.support.database import rows
from tests.support.real_data import real_corpus
from tests.support.tables import converse_here
from turnlog import SYSTEM, InvalidInputError, Session, SessionLog, Settings, UsageRow
from turnlog.domain import events as e
from turnlog.infrastructure.tables import projection_tables
from turnlog.infrastructure.tables.projection_tables import ProjectionTables
from turnlog.infrastructure.testing import own_corpus
from turnlog.projections.usage import TOKEN_PATHS

TODAY = datetime.now(UTC).date()


async def steps_and_tokens(log: SessionLog, session: Session) -> dict[str, int]:
    """What the view says of a session."""
    view = await session.view()
    ended = [step for turn in view.turns for step in turn.steps if step.ended_at is not None]
    return {"steps": len(ended), **{name: getattr(view.usage, name) for name in TOKEN_PATHS}}


def numbers(row: UsageRow) -> dict[str, int]:
    return {name: getattr(row, name) for name in ("steps", *TOKEN_PATHS)}


async def test_usage_is_that_of_the_views_over_all_streams(log: SessionLog) -> None:
    streams = [*own_corpus(), *real_corpus()]

    async def record(user_id: str, chunks: list[dict[str, Any]]) -> tuple[str, dict[str, int]]:
        session = await log.start_session(user_id)

        async def stream() -> AsyncIterator[dict[str, Any]]:
            for chunk in chunks:
                yield chunk

        async for _ in session.record(stream()):
            pass
        return user_id, await steps_and_tokens(log, session)

    recorded = await asyncio.gather(*(record(f"u{n}", stream.parsed()) for n, stream in enumerate(streams)))
    report = await log.usage(SYSTEM, by=["user"])

    assert {row.user_id: numbers(row) for row in report.rows} == dict(recorded)
    assert sum(row.total_tokens for row in report.rows) == report.total.total_tokens > 0
    assert report.events_behind == 0


async def answer(session: Session, model: str, tokens: int) -> None:
    async with session.completion(model=model) as completion:
        await completion.text("So.")
        await completion.finish("stop", usage={"prompt_tokens": tokens, "completion_tokens": 1})


async def test_usage_is_told_apart_by_user_model_and_day(log: SessionLog) -> None:
    first, second = await log.start_session("u1"), await log.start_session("u2")
    await answer(first, "m1", 10)
    await answer(first, "m2", 20)
    await answer(second, "m1", 40)
    await second.add_usage(prompt_tokens=100, model="m1")
    await second.add_usage({"input_tokens": 2**70})

    report = await log.usage(SYSTEM)
    assert [(row.user_id, row.model, row.day, row.steps, row.prompt_tokens) for row in report.rows] == [
        ("u1", "m1", TODAY, 1, 10),
        ("u1", "m2", TODAY, 1, 20),
        ("u2", "m1", TODAY, 1, 140),
        ("u2", None, TODAY, 0, 2**70),
    ]
    by_model = await log.usage(SYSTEM, by=["model"], model="m1")
    assert [(row.user_id, row.model, row.day, row.total_tokens) for row in by_model.rows] == [(None, "m1", None, 152)]
    mine = await log.usage("u1", by=())
    assert [numbers(row) for row in mine.rows] == [numbers(mine.total)]
    assert (mine.total.steps, mine.total.prompt_tokens, mine.total.total_tokens) == (2, 30, 32)
    assert (await log.usage(SYSTEM, since=TODAY, until=str(TODAY))).total == report.total
    assert (await log.usage(SYSTEM, since=TODAY + timedelta(1))).rows == ()
    assert (await log.usage(SYSTEM, until=TODAY - timedelta(1))).rows == ()
    assert (await log.usage("nobody")).rows == ()


async def test_usage_counts_deleted_sessions_and_no_copies(log: SessionLog) -> None:
    session = await log.start_session(None)
    await answer(session, "m", 10)
    assert (await log.usage(SYSTEM, by=["user"])).rows[0].user_id is None
    async with session.completion(model="m") as completion:
        await completion.text("Not")
        fork = await log.session(session.id, SYSTEM).fork()  # with a copy of the open step, too
        await completion.finish("stop", usage={"prompt_tokens": 1})
    await answer(fork, "m", 100)
    again = await fork.fork()
    await answer(again, "m", 1000)
    await log.import_session([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}], "u1")
    await log.assign_owner(session.id, "u1")
    await log.delete_session(session.id, "u1")

    report = await log.usage(SYSTEM, by=["user"])

    assert [(row.user_id, row.steps, row.prompt_tokens) for row in report.rows] == [("u1", 2, 11), (None, 2, 1100)]


async def test_a_report_that_is_called_as_a_step_is_counts_beside_it(log: SessionLog) -> None:
    session = await log.start_session("u1")
    await answer(session, "m", 10)
    (turn,) = (await session.view()).turns
    for _ in range(2):
        await session.add_usage(prompt_tokens=100, id=turn.steps[0].step_id)

    total = (await log.usage("u1")).total
    assert (total.steps, total.prompt_tokens) == (1, 110)


async def test_a_model_that_no_database_can_write_is_counted(log: SessionLog) -> None:
    session = await log.start_session("u1")
    await answer(session, "m\0\ud83d", 10)

    assert [row.model for row in (await log.usage("u1")).rows] == ["m\ufffd\ufffd"]


async def test_without_catching_up_a_report_says_what_it_does_not_know(log: SessionLog) -> None:
    session = await log.start_session("u1")
    await answer(session, "m", 10)

    known = await log.usage("u1", catch_up=False)
    assert (known.rows, known.log_position, known.events_behind) == ((), 0, 4)
    caught_up = await log.usage("u1")
    assert (caught_up.total.steps, caught_up.log_position, caught_up.events_behind) == (1, 4, 0)


def any_event(rng: random.Random) -> e.SessionEvent:
    """An event that usage takes, whether it fits or not."""
    at = datetime(2026, 11, rng.randint(1, 30), tzinfo=UTC)
    step, model = rng.choice("abc"), rng.choice([None, "m1", "m2"])
    used: Any = rng.choice([None, {"prompt_tokens": rng.choice([1, 2**40, 2**70]), "completion_tokens": 3}])
    kind = rng.randrange(20)
    if kind < 1:
        return e.SessionForked(at=at, source=UUID(int=9), upto=1)
    if kind < 3:
        return e.SessionStarted(at=at, user_id=rng.choice([None, "u1", "u2"]))
    if kind < 5:
        return e.OwnerAssigned(at=at, user_id=rng.choice(["u3", "u4"]))
    if kind < 10:
        return e.CompletionStarted(at=at, step_id=step, model=model)
    if kind < 12:
        return e.UsageReported(at=at, id=step, usage=used or {"prompt_tokens": 5}, model=model)
    if kind < 16:
        return e.CompletionFinished(at=at, step_id=step, finish_reason="stop", usage=used, model=model)
    return e.CompletionInterrupted(at=at, step_id=step, reason="gone", usage=used, model=model)


@pytest.mark.parametrize("seed", range(3))
async def test_usage_is_the_same_however_the_events_are_cut_into_batches(
    log: SessionLog, settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    sessions = [UUID(int=number) for number in range(1, 4)]
    places = dict.fromkeys(sessions, 0)
    stored = []
    for _ in range(250):
        session_id = rng.choice(sessions)
        places[session_id] += 1
        event = any_event(rng)
        stored.append(StoredEvent(session_id, places[session_id], event.topic, event.to_json()))
    log._parts.store.recorder.insert_events(stored)

    async def table(at_once: int) -> list[list[tuple[Any, ...]]]:
        def cut(tables: ProjectionTables, *args: Any) -> None:
            begun(tables, *args)
            tables._at_once = at_once

        monkeypatch.setattr(ProjectionTables, "__init__", cut)
        await log.usage(SYSTEM)
        found = [
            rows(settings, "select * from turnlog_projection_usage order by 1, 2, 3"),
            rows(settings, "select * from turnlog_projection_usage_owners order by 1"),
        ]
        rows(settings, "truncate turnlog_projection_usage, turnlog_projection_usage_owners")
        rows(settings, "update turnlog_tracking set notification_id = 0")
        return found

    begun = ProjectionTables.__init__
    monkeypatch.setattr(projection_tables, "SLICE_SECONDS", 0)  # each piece is a transaction, and they do not grow
    one_by_one = await table(1)
    assert len(one_by_one[0]) > 3
    assert any(row[4] for row in one_by_one[0])
    monkeypatch.setattr(projection_tables, "SLICE_SECONDS", 10)
    for at_once in (1, 3, 50, 1_000):
        assert await table(at_once) == one_by_one


async def test_usage_of_many_short_steps_takes_few_statements(
    log: SessionLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await converse_here(log, sessions=50, steps=10, deltas=1)
    statements = 0
    execute = ProjectionTables.sql

    def counted(tables: ProjectionTables, statement: str) -> Any:
        nonlocal statements
        statements += 1
        return execute(tables, statement)

    monkeypatch.setattr(ProjectionTables, "sql", counted)
    assert (await log.usage(SYSTEM)).total.steps == 500
    assert statements < 80  # of some thousand events


async def test_a_report_that_does_not_wait_says_what_it_lacks_and_catching_up_goes_on(log: SessionLog) -> None:
    await converse_here(log, sessions=20, steps=5, deltas=2)
    told: list[tuple[int, int]] = []

    at_once = await log.usage("u1", wait=False, progress=lambda done, end: told.append((done, end)))
    assert (at_once.rows, at_once.log_position, at_once.is_catching_up) == ((), 0, True)
    assert at_once.events_behind == 20 + 20 * 5 * 4
    known = await log.usage("u1", catch_up=False)
    assert known.is_catching_up is (known.events_behind > 0)
    async with asyncio.timeout(20):
        while (report := await log.usage("u1", wait=False)).events_behind:
            await asyncio.sleep(0.01)
    assert (report.total.steps, report.is_catching_up) == (100, False)
    assert told[-1] == (420, 420)
    assert (await log.usage("u1", catch_up=False)).is_catching_up is False


async def test_many_who_ask_at_once_hold_one_thread(log: SessionLog, settings: Settings) -> None:
    await converse_here(log, sessions=1, steps=1, deltas=2)
    with held_back(settings):
        asking = [asyncio.create_task(log.usage("u1")) for _ in range(20)]
        await asyncio.sleep(0.3)
        async with asyncio.timeout(2):
            assert (await log.list_sessions("u1")).total == 1
    assert {(await one).total.steps for one in asking} == {1}


async def test_closing_ends_catching_up_that_nobody_waits_for(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        await converse_here(log, sessions=1, steps=1, deltas=2)
        await log.usage("u1")
        await converse_here(log, sessions=1, steps=1, deltas=2)
        with psycopg.connect(settings.database_url or "") as other:
            other.execute(f"select from {settings.database_schema}.turnlog_tracking for update".encode())
            assert (await log.usage("u1", wait=False)).is_catching_up
            async with asyncio.timeout(1):
                await log._usage.close()
            known = await log.usage("u1", catch_up=False)
        assert (known.total.steps, known.events_behind, known.is_catching_up) == (1, 5, False)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"by": ["week"]}, "by"),
        ({"by": "day"}, "by"),
        ({"since": "now"}, "since"),
        ({"until": 7}, "until"),
        ({"wait": 1}, "wait"),
    ],
)
async def test_usage_that_cannot_be_asked_for_is_refused(log: SessionLog, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await log.usage(SYSTEM, **asked)

    assert caught.value.field == field


async def test_usage_without_a_principal_is_refused(log: SessionLog) -> None:
    with pytest.raises(InvalidInputError):
        await log.usage(None)  # type: ignore[arg-type]
