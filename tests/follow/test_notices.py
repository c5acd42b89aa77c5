"""Notices in Redis: they come after the commit, and those that are lost, late or garbage cost time and no event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from tests.support.followers import followed, some, to_the_end
from tests.support.recording import SOON, record_texts
from tests.support.sessions import stored_events
from turnlog import Session, SessionLog, Settings
from turnlog.infrastructure.follow import poll_loop, session_watcher
from turnlog.infrastructure.follow.notices import MAX_BYTES, VAIN_LOOKS, VAIN_SECONDS


@pytest.fixture
async def deaf_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """Another process whose notices go to another channel: all of them are lost."""
    async with SessionLog.open(settings.model_copy(update={"cache_prefix": "elsewhere:"})) as opened:
        yield opened


async def test_notices_that_are_lost_cost_time_and_no_event(session: Session, deaf_log: SessionLog) -> None:
    """The last one among them: the end of the turn is an event."""
    await session.say("Count.")
    task = asyncio.create_task(to_the_end(session))
    await followed(session_log(session))
    await record_texts(deaf_log.session(session.id, "u1"), "1 ", "2 ", "3 ")
    assert await task == await stored_events(session)


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
            await record_texts(theirs, "1 ", "2 ", "3 ")
        for _ in range(times):
            redis.publish(channel, uuid4().bytes + session.id.bytes + uuid4().bytes)
        await asyncio.sleep(0.005)
    assert await task == (await stored_events(session))[1:]


async def test_a_flood_of_forged_notices_changes_nothing_and_costs_a_bounded_number_of_reads(
    log: SessionLog, session: Session, redis: Redis
) -> None:
    """Whoever may publish can name any session. What is shown comes from the log, and not more often than so often."""
    prefix = log._parts.watcher._notices._prefix  # type: ignore[union-attr]
    seen = list[int]()

    async def follow() -> None:
        async for event in session.follow():
            seen.append(event.position)

    async def flood(seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            with redis.pipeline(transaction=False) as pipeline:
                for channel in ("notices", "stops"):
                    pipeline.publish(prefix + channel, uuid4().bytes + session.id.bytes)
                pipeline.execute()
            await asyncio.sleep(0)

    task = asyncio.create_task(follow())
    async with session.completion() as completion:
        await completion.text("one ")
        await followed(log)
        asked = _questions(log)
        before = log.follow_statistics.reads
        await flood(1.5)
        assert log.follow_statistics.reads - before < VAIN_LOOKS + 2 * 1.5 / VAIN_SECONDS
        assert len(asked) < VAIN_LOOKS + 2 * 1.5 / VAIN_SECONDS
        await completion.text("two ")
        await flood(0.1)
        await completion.finish("stop")
    await session.say("more")
    async with asyncio.timeout(SOON):
        while len(seen) < 6:
            await asyncio.sleep(0.01)
    task.cancel()
    assert seen == list(range(1, 7))


def _questions(log: SessionLog) -> list[Any]:
    """The sessions of which it is asked where they stand, from now on."""
    asked, standings = list[Any](), log._parts.store.standings
    ask = standings.ask

    def asking(session_id: Any) -> Any:
        asked.append(session_id)
        return ask(session_id)

    standings.ask = asking  # type: ignore[method-assign]
    return asked


async def test_more_sessions_than_a_message_holds_are_named_in_several(log: SessionLog, redis: Redis) -> None:
    notices = log._parts.watcher._notices
    assert notices is not None
    ids = {uuid4().bytes for _ in range(10_000)}
    with redis.pubsub() as pubsub:
        pubsub.subscribe(notices._prefix + "notices")
        assert pubsub.get_message(timeout=SOON)
        notices.say("notices", ids)
        await notices.close()
        heard = list[bytes]()
        while message := await asyncio.to_thread(pubsub.get_message, timeout=0.3):
            assert len(message["data"]) <= MAX_BYTES
            heard += [message["data"][at : at + 16] for at in range(16, len(message["data"]), 16)]
    assert sorted(heard) == sorted(ids)


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
