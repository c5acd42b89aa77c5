"""Following: every event once and in order, from any position and any process, whatever becomes of the notices."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql
from redis import Redis

from tests.append.test_acceptance import KillableServers, short_lived_folder
from tests.faults.test_races import turn
from tests.support import programs
from tests.support.processes import Child
from tests.support.strategies import BEGAN, SESSION_ID, histories, recorded
from turnlog import (
    Following,
    LogClosedError,
    RecordedEvent,
    Session,
    SessionLog,
    SessionNotFoundError,
    Settings,
    StoreUnavailableError,
)
from turnlog.domain import events as e
from turnlog.domain.events import MessageImported, RepairWithdrawn, SessionRepaired
from turnlog.infrastructure.follow import poll_loop, session_watcher
from turnlog.infrastructure.follow import source as follow_source
from turnlog.infrastructure.testing.corpus import own_corpus
from turnlog.projections import turn_watch
from turnlog.projections.projector import Projector
from turnlog.projections.turn_watch import TurnWatch

SOON = 10.0


@pytest.fixture
async def other_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """A second process, as far as the servers can tell."""
    async with SessionLog.open(settings) as opened:
        yield opened


@pytest.fixture
async def deaf_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """Another process whose notices go to another channel: all of them are lost."""
    async with SessionLog.open(settings.model_copy(update={"cache_prefix": "elsewhere:"})) as opened:
        yield opened


async def provider(*texts: str, pause: float = 0.0) -> AsyncIterator[dict[str, Any]]:
    for text in texts:
        await asyncio.sleep(pause)
        yield {"choices": [{"index": 0, "delta": {"content": text}}]}


async def answer(session: Session, *texts: str, pause: float = 0.0) -> None:
    async for _ in session.record(provider(*texts, pause=pause)):
        pass


async def stored(session: Session) -> list[RecordedEvent]:
    return [event async for event in session.events()]


async def to_the_end(session: Session, after: int = 0) -> list[RecordedEvent]:
    """What a follower sees until the turn ends."""
    async with asyncio.timeout(SOON):
        return [event async for event in session.follow(after, until_turn_ends=True)]


async def some(following: Following, count: int) -> list[RecordedEvent]:
    async with asyncio.timeout(SOON):
        return [await anext(following) for _ in range(count)]


async def followed(log: SessionLog, count: int = 1) -> None:
    """Waits until this log follows a session with so many followers, and hears of it."""
    async with asyncio.timeout(SOON):
        while sum(len(source.cursors) for source in log._parts.watcher._sources.values()) < count:
            await asyncio.sleep(0.01)
        listener = log._parts.watcher._poll_loops["notices"].listener
        while listener is not None and not listener.hears:
            await asyncio.sleep(0.01)


@contextmanager
def statements(log: SessionLog) -> Iterator[Counter[str]]:
    """Counts what this log asks Postgres, by the statement's name."""
    recorder = log._parts.store.recorder
    counted, fetch = Counter[str](), recorder.fetch

    def counting(name: str, *params: Any) -> Any:
        counted[name] += 1
        return fetch(name, *params)

    recorder.fetch = counting  # type: ignore[method-assign]
    yield counted
    recorder.fetch = fetch  # type: ignore[method-assign]


# From any position


async def test_from_every_position_what_is_followed_is_the_rest(session: Session, other_log: SessionLog) -> None:
    await session.say("Hello")
    for stream in [stream for stream in own_corpus() if stream.name in ("demo-two-calls", "long-text")]:
        async for _ in session.record(_played(stream.parsed())):
            pass
    await answer(session, "That is all.")
    events = await stored(session)
    whole = Projector(session.id).apply_all(events).view()
    theirs = other_log.session(session.id, "u1")
    for cut in range(len(events) + 1):
        rest = await to_the_end(theirs, after=cut)
        assert rest == events[cut:]
        assert Projector(session.id).apply_all(events[:cut]).apply_all(rest).view() == whole


async def _played(chunks: list[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


async def test_followers_that_come_at_any_moment_see_every_event_once(session: Session, other_log: SessionLog) -> None:
    await session.say("Count.")
    theirs = other_log.session(session.id, "u1")

    async def come_late(moment: float) -> list[int]:
        await asyncio.sleep(moment)
        return [event.position for event in await to_the_end(theirs, after=int(moment * 100))]

    moments = [random.Random(number).random() * 0.4 for number in range(60)]
    writing = asyncio.create_task(answer(session, *(f"{n} " for n in range(150)), pause=0.003))
    seen = await asyncio.gather(*map(come_late, moments))
    await writing
    last = (await session.view()).version
    assert [one == list(range(int(moment * 100) + 1, last + 1)) for one, moment in zip(seen, moments, strict=True)] == [
        True
    ] * len(moments)


async def test_a_position_that_is_not_there_yet_is_waited_for(session: Session) -> None:
    following = session.follow(after=3)
    task = asyncio.create_task(some(following, 1))
    for number in range(4):
        await session.say(str(number))
    assert [event.position for event in await task] == [4]


# From any process


@pytest.mark.parametrize("redis_url", ["redis", "none"])
async def test_a_process_follows_what_another_one_records(settings: Settings, session: Session, redis_url: str) -> None:
    places = settings if redis_url == "redis" else settings.model_copy(update={"redis_url": "none"})
    await session.say("Count.")
    with (
        Child(programs.follow, places, session.id, 1000) as follower,
        Child(programs.record, places, session.id, 0.005, 100) as recorder,
    ):
        async with asyncio.timeout(3 * SOON):
            await recorder.until("ended")
            assert await follower.hear() == "following"
            seen = await follower.hear()
    last = (await session.view()).version
    assert seen == [list(range(1, last + 1))] * 1000


async def test_a_thousand_followers_cost_one_reader(session: Session, other_log: SessionLog) -> None:
    await session.say("Count.")
    theirs = other_log.session(session.id, "u1")
    with statements(other_log) as counted:
        tasks = [asyncio.create_task(to_the_end(theirs)) for _ in range(1000)]
        await followed(other_log, 1000)
        joining = counted.copy()
        counted.clear()
        await answer(session, *(f"{n} " for n in range(100)), pause=0.003)
        seen = await asyncio.gather(*tasks)
    events = await stored(session)
    assert all(one == events for one in seen)
    assert joining.total() < 30, joining
    assert set(counted) <= {"read_sessions", "read_session"}
    # At most one a notice, and the looks at the clock. What they read was read once.
    assert counted["read_sessions"] < 130, counted
    assert counted["read_session"] <= 2, counted


async def test_a_follower_hears_at_once_of_its_own_process_without_any_server(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"redis_url": "none"})) as log:
        session = await log.start_session("u1")
        following = session.follow()
        await some(following, 1)
        loop = asyncio.get_running_loop()
        waits = []
        for number in range(30):
            task = asyncio.create_task(some(following, 1))
            await session.say(str(number))
            began = loop.time()
            await task
            waits.append(loop.time() - began)
    assert sorted(waits)[15] < poll_loop.FIRST_PAUSE / 2


# Notices


async def test_notices_that_are_lost_cost_time_and_no_event(session: Session, deaf_log: SessionLog) -> None:
    """The last one among them: the end of the turn is an event."""
    await session.say("Count.")
    task = asyncio.create_task(to_the_end(session))
    await followed(session_log(session))
    await answer(deaf_log.session(session.id, "u1"), "1 ", "2 ", "3 ")
    assert await task == await stored(session)


def session_log(session: Session) -> Any:
    return type("Log", (), {"_parts": session._parts})


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_notices_that_are_late_doubled_or_garbage_change_nothing(
    log: SessionLog, session: Session, deaf_log: SessionLog, redis: Redis, times: int
) -> None:
    channel = log._parts.watcher._notices._prefix + "notices"  # type: ignore[union-attr]
    theirs = deaf_log.session(session.id, "u1")
    task = asyncio.create_task(to_the_end(session, after=1))
    await theirs.say("Count.")
    await followed(log)
    for number in range(30):
        for garbage in (b"", b"x", b"\xff" * 15, b"{}", session.id.bytes, uuid4().bytes * 5, uuid4().bytes * 10_000):
            redis.publish(channel, garbage)
        if number == 20:
            await answer(theirs, "1 ", "2 ", "3 ")
        for _ in range(times):
            redis.publish(channel, uuid4().bytes + session.id.bytes + uuid4().bytes)
        await asyncio.sleep(0.005)
    assert await task == (await stored(session))[1:]


async def test_a_notice_is_one_message_a_commit_and_comes_after_it(
    log: SessionLog, redis: Redis, settings: Settings
) -> None:
    sessions = [await log.start_session("u1") for _ in range(50)]
    await log._parts.watcher._notices.close()  # type: ignore[union-attr]
    with redis.pubsub() as pubsub:
        pubsub.subscribe(log._parts.watcher._notices._prefix + "notices")  # type: ignore[union-attr]
        assert pubsub.get_message(timeout=SOON)
        commits = log.writer_statistics.commits
        await asyncio.gather(*(session.say("hi") for session in sessions))
        commits = log.writer_statistics.commits - commits
        messages = []
        while message := await asyncio.to_thread(pubsub.get_message, timeout=0.3):
            messages.append(message["data"])
    assert 1 <= len(messages) <= commits
    named = {data[start : start + 16] for data in messages for start in range(16, len(data), 16)}
    assert named == {session.id.bytes for session in sessions}


async def test_no_notice_comes_before_the_commit(log: SessionLog, redis: Redis, settings: Settings) -> None:
    session = await log.start_session("u1")
    with redis.pubsub() as pubsub, psycopg.connect(str(settings.database_url)) as other:
        pubsub.subscribe(log._parts.watcher._notices._prefix + "notices")  # type: ignore[union-attr]
        assert pubsub.get_message(timeout=SOON)
        await asyncio.sleep(0.1)
        while pubsub.get_message(timeout=0.1):  # of the start
            pass
        table = sql.Identifier(settings.database_schema, "turnlog_events")
        other.execute(sql.SQL("lock table {} in exclusive mode").format(table))
        saying = asyncio.create_task(session.say("hi"))
        assert await asyncio.to_thread(pubsub.get_message, timeout=0.5) is None
        other.rollback()
        await saying
        assert await asyncio.to_thread(pubsub.get_message, timeout=SOON)


async def test_a_redis_that_refuses_to_publish_is_warned_of_once(
    log: SessionLog, redis: Redis, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    redis.execute_command("ACL", "SETUSER", "nopub", "on", ">pw", "~*", "+@all", "-publish", "-subscribe")
    url = str(settings.redis_url).replace("unix://", "unix://nopub:pw@")
    async with SessionLog.open(settings.model_copy(update={"redis_url": url})) as mute:
        session = await mute.start_session("u1")
        for number in range(5):
            await session.say(str(number))
    assert sum("refuses to publish" in record.message for record in caplog.records) == 1


async def test_many_calls_of_redis_at_once_are_no_outage(
    log: SessionLog, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    await session.say("hi")
    await session.view()
    views = await asyncio.gather(*(session.view() for _ in range(300)))
    assert {view.version for view in views} == {2}
    assert caplog.messages == []


async def test_a_log_that_follows_and_records_nothing_subscribes_to_nothing(log: SessionLog, redis: Redis) -> None:
    session = await log.start_session("u1")
    await session.say("hi")
    prefix = log._parts.watcher._notices._prefix  # type: ignore[union-attr]
    assert redis.pubsub_channels(f"{prefix}*") == []
    following = session.follow()
    await some(following, 1)
    await followed(log)
    assert redis.pubsub_channels(f"{prefix}*") == [f"{prefix}notices".encode()]
    await following.aclose()
    async with asyncio.timeout(SOON):
        while redis.pubsub_channels(f"{prefix}*"):
            await asyncio.sleep(0.05)


# Servers that go down


@pytest.fixture(scope="module")
def killable() -> Iterator[KillableServers]:
    with short_lived_folder() as folder:
        pair = KillableServers(folder)
        try:
            yield pair
        finally:
            pair.close()


@pytest.mark.parametrize("server", ["redis", "postgres"])
async def test_followers_miss_and_double_nothing_when_a_server_is_killed_and_comes_back(
    killable: KillableServers, server: str
) -> None:
    killable.start_again()
    places = killable.settings.model_copy(update={"store_timeout_seconds": 20})
    async with SessionLog.open(places) as log, asyncio.timeout(60):
        session = await log.start_session("u1")
        await session.say("Count.")
        tasks = [asyncio.create_task(to_the_end_whatever_comes(session)) for _ in range(100)]
        await followed(log, 100)
        with Child(programs.record, places, session.id, 0.01, 250) as recorder:
            for _ in range(60):
                await recorder.hear()
            killable.kill_redis() if server == "redis" else killable.kill_postgres()
            await asyncio.sleep(0.2)
            await asyncio.to_thread(killable.start_again)
            assert (await recorder.rest())[-1] == "ended"
        seen = await asyncio.gather(*tasks)
        last = (await session.view()).version
        assert all(one == list(range(1, last + 1)) for one in seen)
        text = (await session.view()).messages[-1]["content"]
        assert text == "".join(f"{number} " for number in range(250))
        # It is back by itself.
        following = asyncio.create_task(to_the_end(session, last))
        assert await following == []
        after = session.follow(last)
        task = asyncio.create_task(some(after, 1))
        await followed(log)
        await session.say("Thanks.")
        await task


async def to_the_end_whatever_comes(session: Session) -> list[int]:
    return [event.position async for event in session.follow(until_turn_ends=True)]


async def test_a_postgres_that_stays_away_is_a_typed_error_and_following_goes_on_after_it(
    killable: KillableServers,
) -> None:
    killable.start_again()
    async with SessionLog.open(killable.settings) as log:
        session = await log.start_session("u1")
        following = session.follow()
        await some(following, 1)
        killable.kill_postgres()
        async with asyncio.timeout(SOON):
            with pytest.raises(StoreUnavailableError):
                await anext(following)
        assert log._parts.watcher._sources == {}
        await asyncio.to_thread(killable.start_again)
        await session.say("hi")
        assert [event.position for event in await some(session.follow(after=1), 1)] == [2]


# Slow followers, and those that leave


async def test_a_slow_follower_is_bounded_in_memory_and_catches_up(
    session: Session, log: SessionLog, other_log: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_source, "RECENT_EVENTS", 100)
    monkeypatch.setattr(follow_source, "FOLLOW_PAGE_EVENTS", 50)
    slow = other_log.session(session.id, "u1").follow()
    seen = await some(slow, 1)
    await session.say("Count.")
    await answer(session, *(f"{n} " for n in range(1000)))
    (source,) = other_log._parts.watcher._sources.values()
    async with asyncio.timeout(SOON):
        while source.position < 1003:
            await asyncio.sleep(0.01)
    assert len(source._recent) <= 100
    while len(seen) < 1004:
        seen += await some(slow, 1)
        assert len(slow._ready) <= 50
    assert [event.position for event in seen] == list(range(1, 1005))


async def test_large_events_that_a_slow_follower_has_not_taken_are_not_kept(session: Session, log: SessionLog) -> None:
    slow = session.follow()
    await some(slow, 1)
    for number in range(8):
        await session.say(f"{number}" * 400_000)
    (source,) = log._parts.watcher._sources.values()
    async with asyncio.timeout(SOON):
        while source.position < 9:
            await asyncio.sleep(0.01)
    assert source._bytes <= follow_source.RECENT_BYTES
    assert sum(len(event.event.to_json()) for event in source._recent) <= follow_source.RECENT_BYTES
    assert [event.position for event in await some(slow, 8)] == list(range(2, 10))


@pytest.mark.parametrize("way", ["break", "aclose", "cancel", "let go"])
async def test_a_follower_that_leaves_leaves_nothing_behind(session: Session, log: SessionLog, way: str) -> None:
    async def loop_over(following: Following) -> None:
        async for _ in following:
            if way == "break":
                break

    following = session.follow()
    task = asyncio.create_task(loop_over(following))
    await followed(log)
    if way == "aclose":
        await following.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(following)
    if way != "break":
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task, following
    await asyncio.sleep(0)
    gc.collect()
    assert log._parts.watcher._sources == {}


async def test_a_call_that_timed_out_has_taken_nothing(session: Session) -> None:
    following = session.follow()
    seen = await some(following, 1)
    for number in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(following), 0.02)
        await session.say(str(number))
        seen += await some(following, 1)
    assert seen == await stored(session)


# Who may, and how it ends


async def test_a_strangers_session_cannot_be_followed(session: Session, log: SessionLog) -> None:
    for stranger in (log.session(session.id, "u2"), log.session(uuid4(), "u1")):
        with pytest.raises(SessionNotFoundError):
            await anext(stranger.follow())
    assert log._parts.watcher._sources == {}


async def test_followers_of_a_deleted_session_are_told_and_end(session: Session, other_log: SessionLog) -> None:
    theirs = other_log.session(session.id, "u1").follow()
    seen = await some(theirs, 1)
    await session._parts.watcher.source(session.id)
    assert await other_log.delete_session(session.id, "u1")
    async with asyncio.timeout(SOON):
        seen += [event async for event in theirs]
    assert [event.topic for event in seen] == ["session-started.v1", "session-deleted.v1"]
    with pytest.raises(SessionNotFoundError):
        await anext(other_log.session(session.id, "u1").follow())


async def test_closing_the_log_ends_its_followers_with_an_error(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
        tasks = [asyncio.create_task(to_the_end(session)) for _ in range(3)]
        await followed(log, 3)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LogClosedError] * 3
    with pytest.raises(LogClosedError):
        await anext(session.follow())


async def test_a_turn_ends_when_the_model_has_no_more_to_say(session: Session) -> None:
    await session.say("A report, please.")
    task = asyncio.create_task(to_the_end(session))
    async with session.completion() as completion:
        await completion.tool_call("c1", "report", "{}")
        await completion.finish("tool_calls")
    await session.add_tool_result("c1", "started", status="pending")
    await session.add_tool_result("c1", "done")
    await asyncio.sleep(0.2)
    assert not task.done()
    await answer(session, "There it is.")
    events = await task
    assert events == await stored(session)
    assert await to_the_end(session, after=events[-1].position) == []
    await session.set_title("A report")
    assert [event.topic for event in await to_the_end(session, after=events[-1].position)] == ["session-titled.v1"]
    await session.say("Thanks.")
    task = asyncio.create_task(to_the_end(session))
    await asyncio.sleep(0.1)
    assert not task.done()
    await answer(session, "My pleasure.")
    assert await task == await stored(session)


@hypothesis_settings(deadline=None)
@given(histories, st.sampled_from([0, turn_watch.CLOSED_AT_MOST]))
def test_a_turn_watch_says_what_the_view_says(events: list[RecordedEvent], closed_at_most: int) -> None:
    # Results of imports are sought in all turns, and repairs change any: no event of a live turn does.
    assume(not any(isinstance(event.event, MessageImported | SessionRepaired | RepairWithdrawn) for event in events))
    for cut in (1, len(events) // 2, len(events)):
        projector = Projector(SESSION_ID).apply_all(events[:cut])
        if cut == 0:
            continue
        watch = TurnWatch(projector)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(turn_watch, "CLOSED_AT_MOST", closed_at_most)
            for event in events[cut:]:
                projector.apply(event)
                turns = projector.view().turns
                assert watch.apply(event) == (bool(turns) and turns[-1].has_ended)


def test_what_watches_for_the_end_of_a_turn_forgets_those_that_were_closed() -> None:
    events = list[e.SessionEvent]()
    for number in range(100):
        events.append(e.MessageAdded(at=BEGAN, message_id=f"m{number}", role="user", content="hi"))
        events.append(e.MessageAdded(at=BEGAN, message_id=f"s{number}", role="assistant", content="Hello!"))
    first, *later = recorded(events)
    watch = TurnWatch(Projector(SESSION_ID).apply_all([first]))
    assert [watch.apply(event) for event in later] == [False, True] * 100
    kept = [turn for turn in watch._projector.raw_turns() if turn.messages]
    assert len(kept) <= turn_watch.CLOSED_AT_MOST + 2


async def test_an_end_that_only_another_follower_saw_does_not_end_a_later_one(session: Session) -> None:
    watching = session.follow()
    await anext(watching)
    await turn(session, 0)
    await session.say("and?")
    while (await anext(watching)).position < 6:
        pass
    later = session.follow(2, until_turn_ends=True)
    assert [(await asyncio.wait_for(anext(later), 5)).position for _ in range(4)] == [3, 4, 5, 6]


async def test_more_events_than_are_read_at_once_come_without_another_notice(
    settings: Settings, log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SAFETY_SECONDS", "FIRST_PAUSE", "LAST_PAUSE"):
        monkeypatch.setattr(poll_loop, name, 3600)
    monkeypatch.setattr(session_watcher, "FOLLOW_PAGE_EVENTS", 2)
    following = session.follow()
    await anext(following)
    while not log._parts.watcher._poll_loops[session_watcher.NOTICES].listener.hears:  # type: ignore[union-attr]
        await asyncio.sleep(0.01)
    async with SessionLog.open(settings) as other:
        ours = other.session(session.id, "u1")
        await ours.view()
        await asyncio.gather(*(ours.say(f"{number}") for number in range(20)))
        async with asyncio.timeout(5):
            assert [(await anext(following)).position for _ in range(20)] == list(range(2, 22))


async def test_a_follower_that_comes_after_a_failure_follows_though_one_of_before_is_still_there(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: Any) -> Any:
        raise StoreUnavailableError("gone")

    idle, waiting = session.follow(), session.follow(1)
    await anext(idle)
    with monkeypatch.context() as patched:
        patched.setattr(log._parts.store.events, "read_after", lost)
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(anext(waiting), 5)
    await session.say("hi")
    assert (await asyncio.wait_for(anext(session.follow(1)), 5)).position == 2
