"""Projections over the whole log: each event is applied exactly once, whatever dies, however many run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import psycopg
import pytest

from tests.support.appends import held_back
from tests.support.counting import Counting, Refusing
from tests.support.processes import Child
from tests.support.programs import converse, keep_up, rebuild
from tests.support.real_data import real_corpus
from turnlog import SYSTEM, InvalidInputError, ProjectionError, Session, SessionLog, SessionView, Settings, UsageRow
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.tables.projection import Projection, Statement
from turnlog.infrastructure.tables.usage import UsageProjection
from turnlog.infrastructure.testing import own_corpus
from turnlog.projections.usage import TOKEN_PATHS

TODAY = datetime.now(UTC).date()


def query(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    """What a statement gives, on a connection of its own that looks into the test's schema."""
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute(f"set search_path to {settings.database_schema}")
        return connection.execute(statement).fetchall()


def position(settings: Settings, name: str) -> int:
    """The log position of a projection; -1 where there is none yet."""
    statement = f"select notification_id from turnlog_tracking where application_name = '{name}'"
    with suppress(psycopg.errors.UndefinedTable):
        return int((query(settings, statement) or [(-1,)])[0][0])
    return -1


def check_counted(settings: Settings) -> None:
    """Every event of the log was counted once."""
    counted = query(settings, "select session_id, events, sum from turnlog_projection_counting order by 1")
    there = query(
        settings, "select originator_id, count(*), sum(originator_version) from turnlog_events group by 1 order by 1"
    )
    assert counted == there
    assert counted


# Usage


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


async def test_deleted_sessions_count_copies_do_not_and_an_owner_gets_what_was_used_before(log: SessionLog) -> None:
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


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"by": ["week"]}, "by"), ({"by": "day"}, "by"), ({"since": "now"}, "since"), ({"until": 7}, "until")],
)
async def test_usage_that_cannot_be_asked_for_is_refused(log: SessionLog, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await log.usage(SYSTEM, **asked)

    assert caught.value.field == field


async def test_usage_without_a_principal_is_refused(log: SessionLog) -> None:
    with pytest.raises(InvalidInputError):
        await log.usage(None)  # type: ignore[arg-type]


# Exactly once


async def converse_here(log: SessionLog, sessions: int, steps: int, deltas: int) -> None:
    async def one() -> None:
        session = await log.start_session("u1")
        for _ in range(steps):
            async with session.completion(model="m") as completion:
                for number in range(deltas):
                    await completion.text(f"{number} ")
                await completion.finish("stop", usage={"prompt_tokens": 7, "completion_tokens": deltas})

    await asyncio.gather(*(one() for _ in range(sessions)))


async def until_at(settings: Settings, name: str, wanted: int) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(position, settings, name) < wanted:
            await asyncio.sleep(0.02)


async def test_a_worker_that_is_killed_in_mid_batch_again_and_again_applies_each_event_once(
    log: SessionLog, settings: Settings
) -> None:
    await converse_here(log, sessions=30, steps=1, deltas=100)
    chance = random.Random(5)
    places = []
    while len(places) < 3 or places[-1] < 2_000:
        # So slow that not even the longest of these lives is enough for a third of the events.
        with Child(keep_up, settings, Counting(seconds=0.001)) as worker:
            assert await worker.hear() == "ready"
            await asyncio.sleep(chance.uniform(0.1, 0.6))
        places.append(position(settings, "counting"))
    assert places[0] < 2_000
    await log.projections.catch_up(Counting())

    check_counted(settings)


async def test_two_workers_at_once_apply_each_event_once_while_others_write(
    log: SessionLog, settings: Settings
) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(Child(keep_up, settings, Counting())) for _ in range(2)]
        writers = [stack.enter_context(Child(converse, settings, f"u{n}", 10, 2, 40)) for n in range(2)]
        assert {await child.hear() for child in (*workers, *writers)} == {"ready"}
        for writer in writers:
            writer.say("go")
        await log.projections.catch_up(Counting())  # and a third, in between
        stored = sum([await writer.hear() for writer in writers])
        await until_at(settings, "counting", stored)
        for worker in workers:
            worker.say("stop")
        assert [await worker.hear() for worker in workers] == [stored, stored]

    check_counted(settings)


async def test_a_worker_goes_on_after_its_connections_were_cut(
    log: SessionLog, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(log, Counting()):
        await converse_here(log, sessions=1, steps=1, deltas=1)
        await until_at(settings, "counting", 4)
        query(settings, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        await converse_here(log, sessions=1, steps=1, deltas=1)
        await until_at(settings, "counting", 8)

    check_counted(settings)


@asynccontextmanager
async def working(log: SessionLog, projection: Projection) -> AsyncIterator[None]:
    worker = log.projections.worker(projection)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


async def test_a_worker_that_is_cancelled_is_gone(log: SessionLog, settings: Settings) -> None:
    running = asyncio.create_task(log.projections.worker(Counting()).run())
    await until_at(settings, "counting", 0)
    await asyncio.sleep(0.3)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert running.cancelled()


async def test_a_projection_that_is_slow_goes_on_in_short_transactions(log: SessionLog, settings: Settings) -> None:
    await converse_here(log, sessions=1, steps=1, deltas=40)
    places: list[int] = []
    async with working(log, Counting(seconds=0.02)):
        while (place := await asyncio.to_thread(position, settings, "counting")) < 43:
            places.append(place)

    assert len(set(places)) > 2, "the 43 events take four times as long as a transaction may"
    check_counted(settings)


# Refusals


@pytest.mark.parametrize(("title", "why"), [("raise", "LookupError: no such thing"), ("refuse", "CheckViolation")])
async def test_a_projection_that_cannot_take_an_event_says_which_and_stays_before_it(
    log: SessionLog, settings: Settings, title: str, why: str
) -> None:
    session = await log.start_session("u1")
    await session.set_title("fine")
    await log.projections.catch_up(Refusing())
    await session.set_title("fine, too")
    await session.set_title(title)

    for attempt in (log.projections.catch_up(Refusing()), log.projections.worker(Refusing()).run()):
        with pytest.raises(ProjectionError, match=why) as caught:
            await attempt
        assert (caught.value.projection, caught.value.log_position) == ("refusing", 4)
        assert f"projection refusing, log position 4: position 4 of session {session.id}" in str(caught.value)
    assert position(settings, "refusing") == 2
    assert query(settings, "select title from turnlog_projection_refusing") == [("fine",)]


class Named(Counting):
    """Names of all kinds."""


@pytest.mark.parametrize(
    ("name", "tables", "field"),
    [
        ("Upper", "create table {Upper} ()", "name"),
        ("x" * 41, "create table {%s} ()" % ("x" * 41), "name"),
        ("fine", "create table other ()", "tables"),
        ("fine", "create table {other} ()", "tables"),
        ("fine", "create table {fine_new} ()", "name"),
    ],
)
async def test_names_that_cannot_be_are_refused(
    log: SessionLog, monkeypatch: pytest.MonkeyPatch, name: str, tables: str, field: str
) -> None:
    monkeypatch.setattr(Named, "name", name)
    monkeypatch.setattr(Named, "tables", tables)
    with pytest.raises(InvalidInputError) as caught:
        await log.projections.catch_up(Named())

    assert caught.value.field == field


async def test_tables_that_cannot_be_made_are_said(log: SessionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "tables", "create table {counting} (x no_such_type)")
    with pytest.raises(ProjectionError, match=r"counting: its tables cannot be made: .*no_such_type"):
        await log.projections.catch_up(Counting())


# Rebuilding


async def test_a_rebuild_while_others_write_is_read_all_the_time_and_right_afterwards(
    log: SessionLog, settings: Settings
) -> None:
    await converse_here(log, sessions=40, steps=5, deltas=20)
    before = (await log.usage("u1", by=())).total
    seen: list[int] = []
    with ExitStack() as stack:
        writers = [stack.enter_context(Child(converse, settings, f"w{n}", 10, 3, 40)) for n in range(3)]
        assert {await writer.hear() for writer in writers} == {"ready"}
        async with working(log, UsageProjection()):
            for writer in writers:
                writer.say("go")
            rebuilding = asyncio.create_task(log.projections.rebuild(UsageProjection()))
            while not rebuilding.done():
                assert (await log.usage("u1", by=(), catch_up=False)).total == before
                seen.append((await log.usage(SYSTEM, by=(), catch_up=False)).total.steps)
            for writer in writers:
                await writer.hear()
    await log.usage(SYSTEM)

    assert seen == sorted(seen)
    assert len(seen) > 3
    assert query(settings, "select application_name from turnlog_tracking") == [("usage",)]
    report = await log.usage(SYSTEM, by=["user"])
    assert [(row.user_id, row.steps, row.completion_tokens) for row in report.rows] == [
        ("u1", 200, 4_000),
        *((f"w{n}", 30, 1_200) for n in range(3)),
    ]


async def test_a_rebuild_gives_what_a_fresh_fold_gives_while_others_write(log: SessionLog, settings: Settings) -> None:
    await converse_here(log, sessions=10, steps=1, deltas=50)
    await log.projections.catch_up(Counting())
    query(settings, "update turnlog_projection_counting set events = events + 1 returning 1")  # somebody's mistake
    with ExitStack() as stack:
        writers = [stack.enter_context(Child(converse, settings, f"w{n}", 10, 1, 40)) for n in range(2)]
        worker = stack.enter_context(Child(keep_up, settings, Counting()))
        assert {await child.hear() for child in (*writers, worker)} == {"ready"}
        for writer in writers:
            writer.say("go")
        await log.projections.rebuild(Counting())
        for writer in writers:
            await writer.hear()
        worker.say("stop")
        await worker.hear()
    await log.projections.catch_up(Counting())

    check_counted(settings)


async def test_a_rebuild_that_is_killed_leaves_the_old_tables_and_can_be_started_again(
    log: SessionLog, settings: Settings
) -> None:
    await converse_here(log, sessions=20, steps=1, deltas=100)
    await log.projections.catch_up(Counting())
    with Child(rebuild, settings, Counting(seconds=0.0002)) as child:
        await child.hear()  # a batch is there
        with pytest.raises(ProjectionError, match="another process is rebuilding it"):
            await log.projections.rebuild(Counting())
    assert 0 < position(settings, "counting_new") < position(settings, "counting")
    check_counted(settings)

    await log.projections.rebuild(Counting())
    check_counted(settings)
    assert position(settings, "counting_new") == -1
    await log.projections.rebuild(Counting())  # and once more, over the names of the one before
    check_counted(settings)


async def test_a_rebuild_waits_for_a_reader_who_holds_the_old_tables(log: SessionLog, settings: Settings) -> None:
    await converse_here(log, sessions=1, steps=1, deltas=1)
    await log.projections.catch_up(Counting())
    with psycopg.connect(settings.database_url or "") as reader:
        reader.execute(f"select * from {settings.database_schema}.turnlog_projection_counting")
        rebuilding = asyncio.create_task(log.projections.rebuild(Counting()))
        await asyncio.sleep(1)
        assert not rebuilding.done()
        reader.execute(f"select * from {settings.database_schema}.turnlog_projection_counting")
    await asyncio.wait_for(rebuilding, 5)

    check_counted(settings)


async def test_a_rebuild_holds_all_that_the_old_tables_had_when_the_head_is_held_back(
    log: SessionLog, settings: Settings
) -> None:
    await converse_here(log, sessions=2, steps=1, deltas=5)
    await log.projections.catch_up(Counting())
    with held_back(settings):
        await log.projections.rebuild(Counting())

    check_counted(settings)


async def test_catching_up_waits_for_what_holds_back_the_callers_own_events(
    log: SessionLog, settings: Settings
) -> None:
    await converse_here(log, sessions=1, steps=1, deltas=5)
    with held_back(settings):
        catching_up = asyncio.create_task(log.projections.catch_up(Counting()))
        await asyncio.sleep(0.3)
        assert position(settings, "counting") == 0
    await catching_up

    check_counted(settings)


async def test_a_rebuild_takes_what_a_projection_has_become(log: SessionLog, settings: Settings) -> None:
    class Longer(Counting):
        tables: ClassVar[str] = "create table {counting} (session_id uuid primary key, events int, sum int, more int)"

        def process(self, recorded: RecordedEvent) -> Iterable[Statement]:
            yield "insert into {counting} values (%s, 1, 1, 1) on conflict do nothing", (recorded.session_id,)

    await converse_here(log, sessions=1, steps=1, deltas=1)
    await log.projections.catch_up(Counting())
    await log.projections.rebuild(Longer())

    assert [row[1:] for row in query(settings, "select * from turnlog_projection_counting")] == [(1, 1, 1)]


async def test_kept_views_are_rebuilt(log: SessionLog, settings: Settings) -> None:
    await converse_here(log, sessions=3, steps=1, deltas=3)
    (id_,) = {item.session_id for item in (await log.list_sessions("u1", limit=1)).items}
    view: SessionView = await log.session(id_, "u1").view()
    query(settings, "update turnlog_heads set body = 'broken' returning 1")
    told: list[tuple[int, int]] = []

    assert await log.rebuild_views(lambda done, total: told.append((done, total))) == 3

    assert told == [(1, 3), (2, 3), (3, 3)]
    assert query(settings, "select count(*) from turnlog_heads where body <> 'broken'") == [(3,)]
    assert await log.session(id_, "u1").view() == view
