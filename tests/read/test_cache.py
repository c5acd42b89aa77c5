"""Redis may be empty, stale or corrupt, or not be there: views and prompts are what the log says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import Redis

from tests.support.sessions import (
    FEW_SECONDS,
    checked_prompt,
    folded_view,
    have_a_whole_conversation,
    wait_until_cached,
)
from tests.support.views import key, put_in_cache, settled
from turnlog import Session, SessionLog, SessionNotFoundError, Settings
from turnlog.infrastructure.read.views import Origin
from turnlog.projections.projector import Projector


async def test_a_dropped_cache_changes_nothing_in_the_view(
    other_log: SessionLog, session: Session, redis: Redis
) -> None:
    await have_a_whole_conversation(session)
    before = await session.view()
    redis.delete(await wait_until_cached(redis, session))
    after = await other_log.session(session.id, "u1").view()
    assert after == before
    assert after.usage.entries == before.usage.entries
    assert len(after.usage.entries) == 2


async def test_an_entry_that_expired_changes_nothing_in_the_view(settings: Settings) -> None:
    """An answer of many minutes, then an empty page: the cache had been the only place where it was."""
    async with SessionLog.open(settings.model_copy(update={"cache_ttl_seconds": 0.05})) as log:
        session = await log.start_session("u1")
        await have_a_whole_conversation(session)
        before = await session.view()
        await asyncio.sleep(0.1)
        assert await log.session(session.id, "u1").view() == before


async def test_a_view_from_the_cache_is_the_view_from_the_log(
    other_log: SessionLog, session: Session, redis: Redis
) -> None:
    await have_a_whole_conversation(session)
    folded = await session.view()
    await wait_until_cached(redis, session)
    assert await other_log.session(session.id, "u1").view() == folded


async def test_stale_entries_of_a_time_without_redis_are_not_shown(
    settings: Settings, log: SessionLog, other_log: SessionLog, redis: Redis
) -> None:
    growing, deleted = await log.start_session("u1"), await log.start_session("u1")
    for session in (growing, deleted):
        await session.say("one")
        await session.view()
        await wait_until_cached(redis, session)
    async with SessionLog.open(settings.model_copy(update={"redis_url": "none"})) as cut_off:
        await cut_off.session(growing.id, "u1").say("two")
        assert await cut_off.delete_session(deleted.id, "u1")
    assert redis.exists(await wait_until_cached(redis, deleted))
    assert len((await other_log.session(growing.id, "u1").view()).messages) == 2
    with pytest.raises(SessionNotFoundError):
        await other_log.session(deleted.id, "u1").view()


@pytest.mark.parametrize("redis_url", ["none", "redis://127.0.0.1:1/0", "unix:///nowhere/at/all.sock"])
async def test_a_log_without_redis_does_the_same(settings: Settings, redis_url: str) -> None:
    async with SessionLog.open(settings.model_copy(update={"redis_url": redis_url})) as log:
        session = await log.start_session("u1")
        await have_a_whole_conversation(session)
        await checked_prompt(session)
        assert (await session.view()).title == "Weather"
        assert await log.delete_session(session.id, "u1") is True


# Corrupt entries


GARBAGE = (b"", b"\xff\x00garbage", b"{}", b"null", b'{"version": 1e999}', b"\n\n\n", b"9" * 60)


async def test_corrupt_bytes_anywhere_in_the_cache_change_no_answer(
    session: Session, other_log: SessionLog, redis: Redis
) -> None:
    await have_a_whole_conversation(session)
    view, prompt = await session.view(), await session.prompt()
    other = other_log.session(session.id, "u1")
    for place in ("view", "chat"):
        key = await wait_until_cached(redis, session) + (b"" if place == "view" else b":chat")
        intact: Any = await other_log_fills(redis, other, key)
        lines = [i for i in range(len(intact)) if intact[i : i + 1] == b"\n"]
        spoilt = [*GARBAGE, *(intact[:cut] for cut in (1, 30, 42, *lines, len(intact) - 1))]
        spoilt += [intact[: cut + 1] + garbage + intact[cut + 1 :] for cut in lines for garbage in GARBAGE[1:]]
        for value in spoilt:
            redis.set(key, value)
            assert (await other.view(), await other.prompt()) == (view, prompt)


async def other_log_fills(redis: Redis, session: Session, key: bytes) -> bytes:
    async with asyncio.timeout(FEW_SECONDS):
        while not (value := redis.get(key)):
            await session.prompt()
            await asyncio.sleep(0.01)
    return bytes(value)  # type: ignore[arg-type]


async def test_an_entry_of_the_wrong_type_is_replaced_and_silences_nothing_else(
    session: Session, other_log: SessionLog, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await have_a_whole_conversation(session)
    expected = await session.view()
    key = await wait_until_cached(redis, session)
    redis.delete(key)
    redis.hset(key, "not", "a string")
    assert await other_log.session(session.id, "u1").view() == expected
    assert "views come from Postgres" not in caplog.text  # Redis is not down, only one entry is broken
    await asyncio.sleep(0.2)
    assert await other_log.session(session.id, "u1").view() == expected
    assert redis.type(key) == b"string"


async def test_an_entry_of_another_session_opens_no_door(
    log: SessionLog, other_log: SessionLog, session: Session, redis: Redis
) -> None:
    await session.say("mine")
    theirs = await log.start_session("u2")
    await theirs.say("theirs")
    for each in (session, theirs):
        await each.view()
    keys = [await wait_until_cached(redis, each) for each in (session, theirs)]
    redis.copy(keys[0].decode(), keys[1].decode(), replace=True)
    intruder = other_log.session(theirs.id, "u1")
    with pytest.raises(SessionNotFoundError):
        await intruder.say("hello")
    with pytest.raises(SessionNotFoundError):
        await intruder.view()
    assert [message["content"] for message in (await theirs.view()).messages] == ["theirs"]


SPOIL = {
    "no header": lambda value: value[42:],
    "no last line": lambda value: value[: value.rindex(b"\n") + 1],
    "half of the last line": lambda value: value[:-10],
    "a line less": lambda value: value[:42] + value[value.index(b"\n", 42) + 1 :],
    "a broken line": lambda value: value.replace(b'{"index":0', b'{"index":', 1),
    "another order": lambda value: value.replace(b'{"index":0', b'{"index":1', 1),
    "another session": lambda value: value.replace(b'"session_id":"', b'"session_id":"0', 1),
}


@pytest.mark.parametrize("spoil", SPOIL)
async def test_a_corrupt_entry_is_replaced_by_what_the_log_says(
    log: SessionLog, talk: Session, redis: Redis, spoil: str
) -> None:
    await settled(log)
    intact: Any = redis.get(key(log, talk))
    assert SPOIL[spoil](intact) != intact
    redis.set(key(log, talk), SPOIL[spoil](intact))

    assert await talk.view() == await folded_view(talk)
    await settled(log)
    assert await talk.view() == await folded_view(talk)


async def test_a_value_of_the_wrong_type_does_no_harm(log: SessionLog, talk: Session, redis: Redis) -> None:
    await settled(log)
    redis.delete(key(log, talk))
    redis.hset(key(log, talk), "not", "a string")

    assert await talk.view() == await folded_view(talk)


# What is written to it


async def test_entries_have_the_configured_prefix_and_live_as_long_as_configured(
    settings: Settings, redis: Redis
) -> None:
    configured = settings.model_copy(update={"cache_prefix": "mine:", "cache_ttl_seconds": 100})
    async with SessionLog.open(configured) as log:
        session = await log.start_session(user_id="u1")
        await session.say("hi")
        await session.view()
        await settled(log)

        assert key(log, session).startswith("mine:")
        assert 90 < redis.ttl(key(log, session)) <= 100


async def test_the_default_life_of_an_entry_is_twelve_hours(log: SessionLog, talk: Session, redis: Redis) -> None:
    await settled(log)
    assert 12 * 3600 - 60 < redis.ttl(key(log, talk)) <= 12 * 3600


async def test_an_older_view_is_never_laid_over_a_newer_one(log: SessionLog, talk: Session, redis: Redis) -> None:
    events = [event async for event in talk.events()]
    await settled(log)
    newer = redis.get(key(log, talk))
    older = Projector(talk.id).apply_all(events[:20])
    there = await log._parts.views._cache.get(key(log, talk))
    assert there is not None

    for origin in (Origin(), Origin(5), Origin(older.version, 0, there.end())):
        await put_in_cache(log, older, origin)

    assert redis.get(key(log, talk)) == newer


async def test_new_lines_are_not_laid_after_another_entry(log: SessionLog, talk: Session, redis: Redis) -> None:
    events = [event async for event in talk.events()]
    whole = Projector(talk.id).apply_all(events)
    redis.delete(key(log, talk))
    before = Projector(talk.id).apply_all(events[:35])
    await put_in_cache(log, before, Origin())
    another = await log._parts.views._cache.get(key(log, talk))
    redis.delete(key(log, talk))
    await put_in_cache(log, Projector(talk.id).apply_all(events[:20]), Origin())
    assert another is not None

    await put_in_cache(log, whole, Origin(35, before.closed_turns, another.end()))

    cached = await log._parts.views._cached(talk.id)
    assert cached is not None
    assert cached.projector.view() == whole.view()


async def test_an_entry_that_is_ahead_of_the_log_is_not_believed(log: SessionLog, talk: Session, redis: Redis) -> None:
    await settled(log)
    ahead = Projector(talk.id).apply_all([event async for event in talk.events()])
    last = [event async for event in talk.events()][-1]
    for extra in range(5):
        ahead.apply(last._replace(position=last.position + extra + 1))
    await put_in_cache(log, ahead, Origin())

    assert await talk.view() == await folded_view(talk)
