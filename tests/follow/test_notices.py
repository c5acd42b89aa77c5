"""Notices in Redis: they come after the commit, and those that are lost, late or garbage cost time and no event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from redis import Redis
from redis.client import PubSub

from tests.support.followers import followed, some, to_the_end
from tests.support.recording import SOON, record_texts
from tests.support.sessions import stored_events
from turnlog import Session, SessionLog, Settings
from turnlog.infrastructure.follow import poll_loop, session_watcher
from turnlog.infrastructure.follow.notices import (
    MAX_BYTES,
    PAUSE_A_SESSION,
    UNHEARD_PAUSE,
    VAIN_LOOKS,
    VAIN_SECONDS,
    Notices,
)
from turnlog.infrastructure.mailboxes import MAX_IDS, TTL_SECONDS


def notices_of(log: SessionLog) -> Notices:
    """How the log tells others, and hears of them."""
    notices = log._parts.watcher._notices
    assert notices is not None
    return notices


def mailbox_of(log: SessionLog) -> str:
    """The channel on which the log hears of what it follows."""
    notices = notices_of(log)
    return notices.mailboxes.channel(notices.box)


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
    channel = mailbox_of(log)
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
    notices = notices_of(log)
    seen = list[int]()

    async def follow() -> None:
        async for event in session.follow():
            seen.append(event.position)

    async def flood(seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            with redis.pipeline(transaction=False) as pipeline:
                for channel in (mailbox_of(log), notices._stops):
                    pipeline.publish(channel, uuid4().bytes + session.id.bytes)
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


async def test_more_sessions_than_a_message_names_are_named_in_several(log: SessionLog, redis: Redis) -> None:
    notices = notices_of(log)
    ids = {uuid4().bytes for _ in range(10_000)}
    for start in range(0, 10_000, MAX_IDS):
        assert await notices.mailboxes.enter("a" * 32, sorted(ids)[start : start + MAX_IDS])
    with redis.pubsub() as pubsub:
        pubsub.subscribe(notices.mailboxes.channel("a" * 32))
        assert pubsub.get_message(timeout=SOON)
        notices.appended(ids)
        await notices.close()
        heard = list[bytes]()
        while message := await asyncio.to_thread(pubsub.get_message, timeout=0.3):
            assert len(message["data"]) <= MAX_BYTES
            heard += [message["data"][at : at + 16] for at in range(16, len(message["data"]), 16)]
    assert sorted(heard) == sorted(ids)


@asynccontextmanager
async def box_for(log: SessionLog, redis: Redis, *sessions: Session) -> AsyncIterator[PubSub]:
    """The mailbox of somebody who follows these sessions, without the notices of before."""
    mailboxes, box = notices_of(log).mailboxes, uuid4().hex
    await asyncio.sleep(3 * UNHEARD_PAUSE)
    with redis.pubsub() as pubsub:
        pubsub.subscribe(mailboxes.channel(box))
        assert pubsub.get_message(timeout=SOON)
        assert await mailboxes.enter(box, [session.id.bytes for session in sessions])
        yield pubsub


async def heard_in(pubsub: PubSub, quiet: float = 0.3) -> list[set[bytes]]:
    """The sessions that each message names, until there is none for so many seconds."""
    messages = list[set[bytes]]()
    while message := await asyncio.to_thread(pubsub.get_message, timeout=quiet):
        data = message["data"]
        messages.append({data[start : start + 16] for start in range(16, len(data), 16)})
    return messages


async def test_a_notice_is_one_message_a_commit_and_names_what_is_followed(log: SessionLog, redis: Redis) -> None:
    sessions = [await log.start_session("u1") for _ in range(50)]
    async with box_for(log, redis, *sessions[:40]) as pubsub:
        commits = log.writer_statistics.commits
        await asyncio.gather(*(session.say("hi") for session in sessions))
        commits = log.writer_statistics.commits - commits
        messages = await heard_in(pubsub)
    assert 1 <= len(messages) <= commits
    assert set.union(*messages) == {session.id.bytes for session in sessions[:40]}


async def test_many_commits_share_a_message(log: SessionLog, redis: Redis) -> None:
    sessions = [await log.start_session("u1") for _ in range(50)]
    async with box_for(log, redis, *sessions) as pubsub:
        commits, began = log.writer_statistics.commits, time.monotonic()
        for _ in range(4):
            for session in sessions:
                await session.say("hi")
        commits = log.writer_statistics.commits - commits
        seconds = time.monotonic() - began
        messages = await heard_in(pubsub)
    assert set.union(*messages) == {session.id.bytes for session in sessions}
    assert commits == 200
    assert len(messages) <= min(150, seconds / (PAUSE_A_SESSION * len(sessions)) * 1.5 + 2)


async def test_where_nobody_follows_nothing_is_published_and_redis_is_seldom_asked(
    log: SessionLog, redis: Redis
) -> None:
    """Somebody who listens to all channels hears of no append."""
    session = await log.start_session("u1")
    await asyncio.sleep(3 * UNHEARD_PAUSE)
    with redis.pubsub() as pubsub:
        pubsub.psubscribe("*follower*")
        assert pubsub.get_message(timeout=SOON)
        calls = _script_calls(redis)
        began = time.monotonic()
        for number in range(300):
            await session.say(str(number))
        seconds = time.monotonic() - began
        assert await heard_in(pubsub, 0.1) == []
    asked = _script_calls(redis) - calls
    assert asked <= (seconds + 0.1) / UNHEARD_PAUSE + 2


def _script_calls(redis: Redis) -> int:
    return int(redis.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


async def test_a_process_hears_of_what_it_follows_and_of_nothing_else(
    settings: Settings, log: SessionLog, redis: Redis
) -> None:
    sessions = [await log.start_session("u1") for _ in range(3)]
    async with SessionLog.open(settings) as other:
        heard = list[bytes]()
        watcher = other._parts.watcher
        hear = watcher._heard
        watcher._mailbox._listener._heard = lambda data: (heard.extend(ids := _ids_in(data)), hear(ids))  # type: ignore[union-attr,func-returns-value]
        following = other.session(sessions[1].id, "u1").follow()
        await some(following, 1)
        await followed(other)
        for _ in range(5):
            await asyncio.gather(*(session.say("hi") for session in sessions))
        await some(following, 5)
        assert set(heard) == {sessions[1].id.bytes}
        await following.aclose()
        async with asyncio.timeout(SOON):
            while followed_keys(log, redis):
                await asyncio.sleep(0.05)


def _ids_in(message: bytes) -> list[bytes]:
    return [message[start : start + 16] for start in range(16, len(message), 16)]


def followed_keys(log: SessionLog, redis: Redis) -> list[Any]:
    """What says that sessions of this log are followed."""
    return redis.keys(f"{notices_of(log).mailboxes._key}*")  # type: ignore[return-value]


async def test_a_mailbox_that_nobody_listens_to_is_forgotten(log: SessionLog, redis: Redis) -> None:
    session = await log.start_session("u1")
    dead = "d" * 32
    async with box_for(log, redis, session) as pubsub:
        assert await notices_of(log).mailboxes.enter(dead, [session.id.bytes])
        (key,) = followed_keys(log, redis)
        assert dead in bytes(redis.get(key)).decode()  # type: ignore[arg-type]
        await session.say("hi")
        assert await heard_in(pubsub) == [{session.id.bytes}]
        assert dead not in bytes(redis.get(key)).decode()  # type: ignore[arg-type]
        assert 0 < redis.pttl(key) <= TTL_SECONDS * 1000  # type: ignore[operator]


@pytest.mark.parametrize("garbage", [b"", b"x", b"%" * 32, b"\xff" * 64, b"[" * 320, b"y" * 100_000], ids=range(6))
async def test_a_key_that_is_garbage_is_written_anew_by_who_follows(
    settings: Settings, log: SessionLog, redis: Redis, garbage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await log.start_session("u1")
    async with SessionLog.open(settings) as other:
        following = other.session(session.id, "u1").follow()
        await some(following, 1)
        await followed(other)
        (key,) = followed_keys(log, redis)
        redis.set(key, garbage)
        await session.say("one")
        await some(following, 1)
        other._parts.watcher._mailbox._connected()  # type: ignore[union-attr]  # as by the clock
        async with asyncio.timeout(SOON):
            while notices_of(other).box.encode() not in (redis.get(key) or b""):  # type: ignore[operator]
                await asyncio.sleep(0.01)
        monkeypatch.setattr(session_watcher, "LONGEST_PAUSE", 0.0)
        began = time.monotonic()
        await session.say("two")
        await some(following, 1)
        assert time.monotonic() - began < poll_loop.SAFETY_SECONDS


async def test_a_key_of_another_type_costs_time_and_no_event(settings: Settings, log: SessionLog, redis: Redis) -> None:
    session = await log.start_session("u1")
    async with SessionLog.open(settings) as other:
        following = other.session(session.id, "u1").follow()
        await some(following, 1)
        await followed(other)
        (key,) = followed_keys(log, redis)
        redis.delete(key)
        redis.lpush(key, "x")
        await session.say("one")
        await some(following, 1)
        other._parts.watcher._mailbox._connected()  # type: ignore[union-attr]
        async with asyncio.timeout(SOON):
            while redis.type(key) != b"string":
                await asyncio.sleep(0.01)


async def test_a_process_of_an_older_version_hears_of_appends_on_its_channel(
    log: SessionLog, session: Session, redis: Redis
) -> None:
    await asyncio.sleep(3 * UNHEARD_PAUSE)
    with redis.pubsub() as pubsub:
        pubsub.subscribe(notices_of(log).mailboxes._old_channel)
        assert pubsub.get_message(timeout=SOON)
        await session.say("hi")
        assert await heard_in(pubsub) == [{session.id.bytes}]


async def test_no_notice_comes_before_the_commit(log: SessionLog, redis: Redis, settings: Settings) -> None:
    session = await log.start_session("u1")
    async with box_for(log, redis, session) as pubsub:
        with psycopg.connect(str(settings.database_url)) as other:
            table = sql.Identifier(settings.database_schema, "turnlog_events")
            other.execute(sql.SQL("lock table {} in exclusive mode").format(table))
            saying = asyncio.create_task(session.say("hi"))
            assert await heard_in(pubsub, 0.5) == []
            other.rollback()
            await saying
            assert await heard_in(pubsub) == [{session.id.bytes}]


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
    prefix = f"{log.settings.cache_prefix}{log._parts.store.schema.log_id}:"
    assert redis.pubsub_channels(f"{prefix}*") == []
    following = session.follow()
    await some(following, 1)
    await followed(log)
    assert redis.pubsub_channels(f"{prefix}*") == [mailbox_of(log).encode()]
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
