"""Rebuilding: read all the time, right afterwards, and again after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack
from typing import ClassVar

import psycopg
import pytest

from tests.support.appends import held_back
from tests.support.counting import Counting
from tests.support.database import rows
from tests.support.processes import Child
from tests.support.programs import converse, keep_up, rebuild
from tests.support.tables import check_counted, converse_here, position, working
from turnlog import SYSTEM, ProjectionError, SessionLog, SessionView, Settings
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.tables.projection import Projection, Statement
from turnlog.infrastructure.tables.usage import UsageProjection

pytestmark = pytest.mark.owner  # a rebuild makes tables


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
    assert rows(settings, "select application_name from turnlog_tracking") == [("usage",)]
    report = await log.usage(SYSTEM, by=["user"])
    assert [(row.user_id, row.steps, row.completion_tokens) for row in report.rows] == [
        ("u1", 200, 4_000),
        *((f"w{n}", 30, 1_200) for n in range(3)),
    ]


async def test_a_rebuild_gives_what_a_fresh_fold_gives_while_others_write(log: SessionLog, settings: Settings) -> None:
    await converse_here(log, sessions=10, steps=1, deltas=50)
    await log.projections.catch_up(Counting())
    rows(settings, "update turnlog_projection_counting set events = events + 1 returning 1")  # somebody's mistake
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


async def test_a_rebuild_that_is_killed_leaves_the_old_tables(log: SessionLog, settings: Settings) -> None:
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


async def test_a_rebuild_takes_what_a_projection_has_become(log: SessionLog, settings: Settings) -> None:
    class Longer(Counting):
        tables: ClassVar[str] = "create table {counting} (session_id uuid primary key, events int, sum int, more int)"

        def process(self, recorded: RecordedEvent) -> Iterable[Statement]:
            yield "insert into {counting} values (%s, 1, 1, 1) on conflict do nothing", (recorded.session_id,)

    await converse_here(log, sessions=1, steps=1, deltas=1)
    await log.projections.catch_up(Counting())
    await log.projections.rebuild(Longer())

    assert [row[1:] for row in rows(settings, "select * from turnlog_projection_counting")] == [(1, 1, 1)]


async def test_kept_views_are_rebuilt(log: SessionLog, settings: Settings) -> None:
    await converse_here(log, sessions=3, steps=1, deltas=3)
    (id_,) = {item.session_id for item in (await log.list_sessions("u1", limit=1)).items}
    view: SessionView = await log.session(id_, "u1").view()
    rows(settings, "update turnlog_heads set body = 'broken' returning 1")
    told: list[tuple[int, int]] = []

    assert await log.rebuild_views(lambda done, total: told.append((done, total))) == 3

    assert told == [(1, 3), (2, 3), (3, 3)]
    assert rows(settings, "select count(*) from turnlog_heads where body <> 'broken'") == [(3,)]
    assert await log.session(id_, "u1").view() == view


class Slow(Projection):
    name = "slow"
    tables: ClassVar[str] = "create table {slow} (n bigint)"

    def process(self, recorded: RecordedEvent) -> Iterable[Statement]:
        yield "insert into {slow} select %s from pg_sleep(0.02)", (recorded.log_position,)


async def test_a_rebuild_fills_before_it_switches_when_the_head_is_held_back(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"store_timeout_seconds": 1.0})) as log:
        session = await log.start_session("u1")
        await asyncio.gather(*(session.say(f"{number}") for number in range(149)))
        await log.projections.catch_up(Slow())
        with held_back(settings):
            assert await log.projections.rebuild(Slow()) == 150
