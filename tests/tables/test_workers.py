"""Workers of projections: each event is applied exactly once, whatever dies, however many run."""

from __future__ import annotations

import asyncio
import random
from contextlib import ExitStack, suppress

import pytest

from tests.support.appends import held_back
from tests.support.counting import Counting, CountingTogether, Refusing, RefusingTogether
from tests.support.database import rows
from tests.support.processes import Child
from tests.support.programs import converse, keep_up
from tests.support.tables import check_counted, converse_here, position, until_at, working
from turnlog import InvalidInputError, ProjectionError, SessionLog, Settings

pytestmark = pytest.mark.owner  # they make projections of their own


@pytest.mark.parametrize("kind", [Counting, pytest.param(CountingTogether, marks=pytest.mark.long)])
async def test_a_worker_that_is_killed_again_and_again_applies_each_event_once(
    log: SessionLog, settings: Settings, kind: type[Counting]
) -> None:
    await converse_here(log, sessions=6, steps=1, deltas=100)
    chance = random.Random(5)
    places = []
    while len(places) < 3 or places[-1] < 300:
        # So slow that not even the longest of these lives is enough for a third of the events.
        with Child(keep_up, settings, kind(seconds=0.002)) as worker:
            assert await worker.hear() == "ready"
            await asyncio.sleep(chance.uniform(0.05, 0.3))
        places.append(position(settings, "counting"))
    assert places[0] < 300
    await log.projections.catch_up(kind())

    check_counted(settings)


@pytest.mark.parametrize("kind", [Counting, CountingTogether])
async def test_two_workers_at_once_apply_each_event_once_while_others_write(
    log: SessionLog, settings: Settings, kind: type[Counting]
) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(Child(keep_up, settings, kind())) for _ in range(2)]
        writers = [stack.enter_context(Child(converse, settings, f"u{n}", 10, 2, 40)) for n in range(2)]
        assert {await child.hear() for child in (*workers, *writers)} == {"ready"}
        for writer in writers:
            writer.say("go")
        await log.projections.catch_up(kind())  # and a third, in between
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
        rows(settings, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        await converse_here(log, sessions=1, steps=1, deltas=1)
        await until_at(settings, "counting", 8)

    check_counted(settings)


async def test_a_worker_that_is_cancelled_is_gone(log: SessionLog, settings: Settings) -> None:
    running = asyncio.create_task(log.projections.worker(Counting()).run())
    await until_at(settings, "counting", 0)
    await asyncio.sleep(0.3)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert running.cancelled()


@pytest.mark.parametrize("kind", [Counting, CountingTogether])
async def test_a_projection_that_is_slow_goes_on_in_short_transactions(
    log: SessionLog, settings: Settings, kind: type[Counting]
) -> None:
    await converse_here(log, sessions=1, steps=1, deltas=40)
    places: list[int] = []
    async with working(log, kind(seconds=0.02)):
        while (place := await asyncio.to_thread(position, settings, "counting")) < 43:
            places.append(place)

    assert len(set(places)) > 2, "the 43 events take four times as long as a transaction may"
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


# Refusals


@pytest.mark.parametrize("kind", [Refusing, RefusingTogether])
@pytest.mark.parametrize(("title", "why"), [("raise", "LookupError: no such thing"), ("refuse", "CheckViolation")])
async def test_a_projection_that_cannot_take_an_event_says_which_and_stays_before_it(
    log: SessionLog, settings: Settings, title: str, why: str, kind: type[Refusing]
) -> None:
    session = await log.start_session("u1")
    await session.set_title("fine")
    await log.projections.catch_up(kind())
    await session.set_title("fine, too")
    await session.set_title(title)

    for attempt in (log.projections.catch_up(kind()), log.projections.worker(kind()).run()):
        with pytest.raises(ProjectionError, match=why) as caught:
            await attempt
        assert (caught.value.projection, caught.value.log_position) == ("refusing", 4)
        assert f"projection refusing, log position 4: position 4 of session {session.id}" in str(caught.value)
    assert position(settings, "refusing") == 2
    assert rows(settings, "select title from turnlog_projection_refusing") == [("fine",)]


@pytest.mark.parametrize("bad", [7, 300, 998])
async def test_one_event_among_many_that_are_taken_together_is_found(
    log: SessionLog, settings: Settings, bad: int
) -> None:
    session = await log.start_session("u1")
    await asyncio.gather(*(session.set_title(f"title {number}") for number in range(2, bad)))
    await session.set_title("refuse")
    await asyncio.gather(*(session.set_title(f"title {number}") for number in range(20)))

    for _ in range(2):
        with pytest.raises(ProjectionError, match="CheckViolation") as caught:
            await log.projections.catch_up(RefusingTogether())
        assert caught.value.log_position == bad
        assert rows(settings, "select count(*) from turnlog_projection_refusing") == [(0,)]


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
