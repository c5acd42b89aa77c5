"""What happens in between: late results, callers that are cancelled, servers that are slow, two who come at once."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, ClassVar
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from redis import Redis

from tests.support.appends import held_back
from tests.support.proxy import Proxy
from turnlog import LogClosedError, Session, SessionLog, SessionView, Settings, StoreUnavailableError
from turnlog.domain.events import SessionForked
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.append.aggregate import LONGEST_PAUSE, PendingAppend
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.leases import Lapsed
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.tables.projection import Projection, Statement
from turnlog.projections.projector import Projector


async def turn(session: Session, number: int, *, calls: bool = False) -> None:
    await session.say(f"question {number}")
    async with session.completion() as answer:
        await answer.text(f"answer {number}")
        if calls:
            await answer.tool_call(f"c{number}", "find", "{}")
        await answer.finish("tool_calls" if calls else "stop")


async def folded(session: Session) -> SessionView:
    return Projector(session.id).apply_all([event async for event in session.events()]).view()


async def test_a_result_that_came_late_is_in_the_kept_view_too(log: SessionLog, session: Session, redis: Redis) -> None:
    background = log._parts.background
    for number in range(4):
        await turn(session, number, calls=number == 0)
    await session.view()
    await session.prompt()
    await background.close()
    await session.add_tool_result("c0", "late")
    await session.prompt()  # keeps the changed page in Redis only, for no turn was closed
    await background.close()
    await turn(session, 4)
    await session.prompt()  # reads the end alone, and keeps it in Postgres
    await background.close()
    redis.flushall()

    assert await session.view() == await folded(session)


async def test_pages_that_a_late_result_has_outdated_are_not_put_before_newer_ones(
    log: SessionLog, session: Session, redis: Redis
) -> None:
    views, key = log._parts.views, log._parts.views.key(session.id)
    for number in range(6):
        await turn(session, number, calls=number == 0)
    await session.view()
    await log._parts.background.close()
    outdated = redis.get(key)
    await session.add_tool_result("c0", "late")
    await turn(session, 6)
    await session.view()
    await log._parts.background.close()
    end = await views.load_end(session.id, 2)
    assert isinstance(outdated, bytes)
    redis.set(key, outdated)  # as where Redis was away meanwhile, and the end came from Postgres

    assert (await views.widen(end, 100)).turns() == (await folded(session)).turns


# Callers that are cancelled


async def test_a_cancellation_that_comes_together_with_an_answer_of_redis_is_not_lost(session: Session) -> None:
    async def handler() -> None:
        await session.view()
        await asyncio.sleep(3600)

    await session.say("hello")
    await session.view()
    for turns_of_the_loop in range(40):
        task = asyncio.create_task(handler())
        for _ in range(turns_of_the_loop):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=2)
        assert done, f"it goes on when it is cancelled {turns_of_the_loop} turns of the loop after it began"


async def test_a_follower_is_not_left_alone_by_one_that_came_with_it_and_has_gone(session: Session) -> None:
    await turn(session, 0)
    version = (await session.view()).version
    until_end, for_ever = session.follow(version, until_turn_ends=True), session.follow(version)
    first, second = asyncio.create_task(anext(until_end)), asyncio.create_task(anext(for_ever))
    with pytest.raises(StopAsyncIteration):
        await first
    await session.say("more")

    assert (await asyncio.wait_for(second, 5)).position == version + 1


async def test_a_follower_that_is_cancelled_before_it_has_begun_leaves_nothing_behind(
    log: SessionLog, session: Session
) -> None:
    following = session.follow()
    task = asyncio.create_task(anext(following))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await following.aclose()
    await asyncio.sleep(0.5)

    assert log.follow_statistics.sessions == 0


async def test_a_follower_that_comes_while_the_log_is_closed_is_told(log: SessionLog, session: Session) -> None:
    watcher = log._parts.watcher
    opening = watcher._open

    async def closed_meanwhile(session_id: UUID) -> Any:
        source = await opening(session_id)
        watcher._is_closed = True  # the rest of closing waits for this
        return source

    watcher._open = closed_meanwhile  # type: ignore[method-assign]
    with pytest.raises(LogClosedError):
        await anext(session.follow())
    assert log.follow_statistics.sessions == 0


class Endless:
    """A provider that never says anything."""

    def __init__(self) -> None:
        self.closed = 0

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(3600)

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("way", ["its consumer leaves", "the log is closed"])
async def test_a_recording_that_ends_before_it_has_begun_closes_its_stream(settings: Settings, way: str) -> None:
    stream = Endless()
    async with SessionLog.open(settings.model_copy(update={"reap_seconds": 0})) as log:
        recording = (await log.start_session("u1")).record(stream)
        task = asyncio.create_task(anext(recording))
        await asyncio.sleep(0)
        if way == "its consumer leaves":
            await recording.aclose()
    await asyncio.wait([task], timeout=5)

    assert task.done()
    assert stream.closed == 1


async def test_a_prompt_is_not_left_waiting_by_a_log_that_is_closed(settings: Settings, proxy: Proxy) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        through = settings.model_copy(update={"database_url": proxy.url, "reap_seconds": 0})
        async with SessionLog.open(through) as log:
            session = await log.start_session("u1")
            path = proxy._listener.getsockname()
            os.unlink(path)  # noqa: PTH108 from here on nobody answers a new connection
            deaf.bind(path)
            deaf.listen()
            waiting = asyncio.create_task(session.prompt())
            await asyncio.sleep(0.3)
        await asyncio.wait([waiting], timeout=15)
    assert waiting.done()
    waiting.exception()


# Leases


async def test_a_lease_is_renewed_while_all_readers_are_busy(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"lease_seconds": 1.5})) as log:
        session = await log.start_session("u1")
        async with session.completion() as answer:
            await answer.text("a")
            await asyncio.gather(*(log._parts.store.run(time.sleep, 2.5) for _ in range(4)))
            await answer.text("b")
            await answer.finish()
        assert [step.status for step in (await session.view()).turns[0].steps] == ["finished"]


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


# The head of the log


@pytest.mark.parametrize(("named", "head"), [(4, 3), (2, 2), (0, 0)])
def test_the_head_is_below_what_is_under_way_however_late_its_lock_was_taken(
    settings: Settings, named: int, head: int
) -> None:
    schema = settings.database_schema
    with UrlDatastore(settings.database_url or "", schema=schema, pool_size=2, timeout=60) as store:
        recorder = BatchRecorder(store)
        recorder.create_table()
        recorder.insert_events([StoredEvent(uuid4(), 1, "t", b"x") for _ in range(3)])
        with psycopg.connect(settings.database_url or "") as connection:
            connection.execute(
                "select pg_advisory_lock_shared(%s::regclass::oid::integer, %s)", (f"{schema}.turnlog_events", named)
            )
            assert recorder.log_head() == head


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


# Forks


async def test_a_fork_names_as_many_events_as_it_has_copied_while_more_are_written(session: Session) -> None:
    is_over = False

    async def write(text: Any) -> None:
        while not is_over:
            await text("x")

    async with session.completion() as answer:
        writing = [asyncio.create_task(write(answer.text)) for _ in range(20)]
        for _ in range(10):
            await asyncio.sleep(0.01)
            fork = await session.fork()
            events = [event.event async for event in fork.events()]
            copied, upto = next(
                (place, event.upto) for place, event in enumerate(events) if isinstance(event, SessionForked)
            )
            assert copied == upto
        is_over = True
        await asyncio.gather(*writing)
    assert (await session.view()).user_id == "u1"


# Many on one session


async def test_a_pause_between_two_tries_is_never_longer_than_the_tries_have_taken(session: Session) -> None:
    await session.say("hi")
    aggregate, loop = session._aggregate, asyncio.get_running_loop()
    entry = PendingAppend(aggregate, (), loop.create_future())
    aggregate._pending.append(entry)
    assert aggregate._pause() == 0
    for tried, most in ((0.0, 0.01), (0.05, 0.06), (3600.0, LONGEST_PAUSE)):
        entry.conflict_since = loop.time() - tried
        pauses = [aggregate._pause() for _ in range(100)]
        assert 0 <= min(pauses) <= max(pauses) <= most
        assert max(pauses) > min(tried, LONGEST_PAUSE) / 2
    aggregate._pending.clear()


async def test_newer_pages_are_not_put_before_an_older_end(log: SessionLog, session: Session) -> None:
    views = log._parts.views
    for number in range(6):
        await turn(session, number, calls=number == 0)
    await session.view()
    await log._parts.background.close()
    end = await views.load_end(session.id, 2)
    await session.add_tool_result("c0", "late")
    await turn(session, 6)
    await session.view()
    await log._parts.background.close()

    assert (await views.widen(end, 100)).turns() == (await folded(session)).turns


async def test_whoever_asks_for_a_position_when_the_log_was_closed_is_told_nothing(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
        await session.prompt()
        store = log._parts.store
    late = store.positions.ask(session.id)
    assert (late.done() and late.result(), store.positions._wire and store.positions._wire.is_open) == (None, False)


async def test_whoever_asks_for_a_position_while_the_log_is_closed_opens_no_connection(
    log: SessionLog, session: Session
) -> None:
    await session.prompt()
    store = log._parts.store
    positions = store.positions
    under_way, waiting = store.positions.ask(session.id), store.positions.ask(session.id)
    positions.close()
    assert [answer.done() and answer.result() for answer in (under_way, waiting)] == [None, None]
    assert positions._opening is None or positions._opening.done()


async def test_what_is_decided_again_waits_for_the_pause(session: Session) -> None:
    aggregate, loop = session._aggregate, asyncio.get_running_loop()
    aggregate._pause = lambda: 0.3  # type: ignore[method-assign]
    aggregate._lane = None  # as after a position that was taken
    began = loop.time()
    await session.say("hi")
    assert loop.time() - began >= 0.3


async def test_a_closed_log_leaves_neither_a_task_nor_a_connection(
    settings: Settings, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    tasks, connections = asyncio.all_tasks(), len(redis.client_list())
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
        waiting = asyncio.create_task(anext(session.follow(1)))
        while log.follow_statistics.followers == 0:
            await asyncio.sleep(0)
        await (await log.start_session("u1")).completion().__aenter__()
    assert asyncio.all_tasks() - tasks <= {waiting}
    assert len(redis.client_list()) == connections
    assert caplog.messages == []
    with pytest.raises(LogClosedError):
        await waiting


async def test_a_log_that_is_closed_waits_for_its_background_work(settings: Settings) -> None:
    positions = list[int | None]()
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")

        async def work() -> None:
            await asyncio.sleep(0.2)
            positions.append(await log._parts.store.positions.ask(session.id))

        log._parts.background.spawn(work())
    assert positions == [1]


async def test_a_recording_is_told_that_its_log_was_closed(settings: Settings) -> None:
    async def endless() -> AsyncIterator[Any]:
        yield {"choices": [{"delta": {"content": "a"}}]}
        await asyncio.sleep(3600)

    async with SessionLog.open(settings) as log:
        recording = (await log.start_session("u1")).record(endless())
        await anext(recording)
        waiting = asyncio.create_task(anext(recording))
        await asyncio.sleep(0)
    with pytest.raises(LogClosedError):
        await asyncio.wait_for(waiting, 5)


async def test_handles_of_one_session_in_a_log_read_nothing_of_each_others_appends(
    log: SessionLog, session: Session
) -> None:
    await session.say("hi")
    asked: list[str] = []
    fetch = log._parts.store.recorder.fetch
    log._parts.store.recorder.fetch = lambda name, *params: (asked.append(name), fetch(name, *params))[1]  # type: ignore[method-assign]
    await log.session(session.id, "u1").say("and?")
    await session.say("so?")
    assert asked == []
