"""Whoever can write to Redis, and only there, changes no answer: each is as if Redis were empty."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis import Redis

from tests.support.sessions import turn
from tests.support.views import settled
from turnlog import SYSTEM, Session, SessionLog, Settings
from turnlog.infrastructure.cache_entry import MAX_BYTES, Signer


async def talked(log: SessionLog, user: str | None, word: str, turns: int = 3) -> Session:
    """A session in which each message says the word."""
    session = await log.start_session(user)
    for number in range(turns):
        await session.say(f"{word} question {number}")
        await session.add_message("assistant", f"{word} answer {number}")
    await session.prompt()
    await session.view()
    await settled(log)
    return session


def keys(log: SessionLog, session: Session) -> list[str]:
    return [log._parts.views.key(session.id), log._parts.prompts.key(session.id)]


def entries(redis: Redis, names: list[str]) -> list[bytes]:
    found: Any = [redis.get(name) for name in names]
    assert None not in found
    return list(found)


def put(redis: Redis, names: list[str], values: list[bytes]) -> None:
    for name, value in zip(names, values, strict=True):
        redis.set(name, value)


async def assert_right(settings: Settings, session: Session, owner: str | None = "u1") -> None:
    """A process that remembers nothing says what the log says, before and after an append."""
    principal = SYSTEM if owner is None else owner
    async with (
        SessionLog.open(settings) as log,
        SessionLog.open(settings.model_copy(update={"redis_url": "none"})) as plain,
    ):
        mine, right = log.session(session.id, principal), plain.session(session.id, principal)
        for _ in range(2):
            assert await mine.prompt() == await right.prompt()
            assert await mine.prompt(max_tokens=100_000) == await right.prompt(max_tokens=100_000)
            assert await mine.view() == await right.view()
            await mine.say("one more")
            await right.view()
        assert await mine.prompt() == await right.prompt()


async def test_entries_of_two_sessions_that_are_swapped_show_and_store_nobody_elses_text(
    settings: Settings, log: SessionLog, redis: Redis
) -> None:
    mine, theirs = await talked(log, "u1", "MINE"), await talked(log, "u2", "THEIRS")
    both = entries(redis, keys(log, mine)), entries(redis, keys(log, theirs))
    put(redis, keys(log, mine), both[1])
    put(redis, keys(log, theirs), both[0])
    await assert_right(settings, mine)
    await assert_right(settings, theirs, "u2")
    async with SessionLog.open(settings) as other:
        assert "THEIRS" not in str(await other.session(mine.id, "u1").prompt())


async def test_the_view_and_the_prompt_of_a_session_that_are_swapped_are_not_taken_for_one_another(
    settings: Settings, log: SessionLog, redis: Redis
) -> None:
    session = await talked(log, "u1", "MINE")
    put(redis, keys(log, session), entries(redis, keys(log, session))[::-1])
    await assert_right(settings, session)


async def test_older_entries_that_are_put_back_are_brought_up_to_the_log(
    settings: Settings, log: SessionLog, redis: Redis
) -> None:
    session = await talked(log, None, "MINE")
    old = entries(redis, keys(log, session))
    await log.assign_owner(session.id, "u1")
    await turn(log.session(session.id, "u1"), 9, calls=False)
    put(redis, keys(log, session), old)
    await assert_right(settings, session)


@pytest.mark.owner
async def test_an_entry_of_another_log_is_not_believed(settings: Settings, log: SessionLog, redis: Redis) -> None:
    """Its lines may even be those of a session with the same id."""
    session = await talked(log, "u1", "MINE")
    async with SessionLog.open(settings.model_copy(update={"database_schema": f"{settings.database_schema}_b"})) as b:
        await b.import_session([{"role": "user", "content": "THEIRS"}] * 5, "u1", session_id=session.id)
        await b.session(session.id, "u1").prompt()
        await b.session(session.id, "u1").view()
        await settled(b)
        put(redis, keys(log, session), entries(redis, keys(b, session)))
    await assert_right(settings, session)


async def test_an_entry_that_is_forged_without_the_secret_is_not_believed(
    settings: Settings, log: SessionLog, redis: Redis
) -> None:
    session = await talked(log, "u1", "MINE")
    for name in keys(log, session):
        true = await log._parts.views._cache.get(name)
        assert true is not None
        last = true.last.replace(b"MINE", b"EVIL").replace(b'"u1"', b'"u2"')
        lines = [line.replace(b"MINE", b"EVIL") for line in true.lines]
        redis.set(name, Signer(b"guessed").made(name, true.position, lines, last).value)
    await assert_right(settings, session)


async def test_flipped_bits_change_no_answer_and_are_told_in_a_debug_line_without_the_text(
    settings: Settings, log: SessionLog, other_log: SessionLog, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "turnlog")
    session, rng = await talked(log, "u1", "MINE", turns=5), random.Random(7)
    view, prompt = await session.view(), await session.prompt()
    other, names = other_log.session(session.id, "u1"), keys(log, session)
    intact = entries(redis, names)
    for _ in range(60):
        for name, value in zip(names, intact, strict=True):
            at = rng.randrange(len(value))
            redis.set(name, value[:at] + bytes([value[at] ^ (1 << rng.randrange(8))]) + value[at + 1 :])
        other_log._parts.prompts.forget(session.id)
        assert (await other.view(), await other.prompt()) == (view, prompt)
    told = [record.getMessage() for record in caplog.records if "is dropped" in record.getMessage()]
    assert len(told) > 60
    assert not any("MINE" in line for line in told)
    assert max(record.levelno for record in caplog.records if record.name == "turnlog") == logging.DEBUG


async def test_a_value_of_any_size_is_read_up_to_a_limit_and_dropped(
    log: SessionLog, session: Session, other_log: SessionLog, redis: Redis
) -> None:
    await session.say("hello")
    name = log._parts.views.key(session.id)
    redis.setrange(name, 2 * MAX_BYTES, b"x")
    before = redis.info("stats")["total_net_output_bytes"]
    assert len((await other_log.session(session.id, "u1").view()).messages) == 1
    assert redis.info("stats")["total_net_output_bytes"] - before < 1.1 * MAX_BYTES
    await settled(other_log)
    assert redis.strlen(name) < 10_000


async def test_an_entry_is_never_made_larger_than_what_is_read(
    log: SessionLog, session: Session, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, cache = log._parts.views.key(session.id), log._parts.views._cache
    small = cache.made(name, 1, [], b"{}")
    assert await cache.put(small)
    large = cache.made(name, 2, [b'{"text":"%b"}' % (b"x" * MAX_BYTES)], b"{}", small)
    assert not await cache.put(large, small)
    assert not await cache.put(large)
    assert redis.strlen(name) < 1_000  # what was there before


# What is removed


FORGETTING: dict[str, Callable[[SessionLog, Session], Awaitable[Any]]] = {
    "a deletion": lambda log, session: log.delete_session(session.id, SYSTEM),
    "an owner": lambda log, session: log.assign_owner(session.id, "u1"),
    "a repair": lambda log, session: log.repair(session.id, SYSTEM),
}


@pytest.mark.parametrize("what", FORGETTING)
async def test_nothing_of_the_session_stays_in_redis_after(log: SessionLog, redis: Redis, what: str) -> None:
    session = await log.start_session(None)
    for number in range(3):
        await session.say(f"question {number}")
        await session.prompt()
        await session.view()
    await FORGETTING[what](log, session)  # while what was read last is still being written
    await settled(log)
    assert redis.keys(f"*{session.id}*") == []
    assert session.id not in log._parts.prompts._memory._entries


async def test_what_is_being_written_is_removed_as_well(
    log: SessionLog, session: Session, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two connections keep no order."""
    cache, key = log._parts.views._cache, log._parts.views.key(session.id)
    write = cache._write

    async def slow_write(*args: Any) -> int:
        await asyncio.sleep(0.1)
        return await write(*args)

    monkeypatch.setattr(cache, "_write", slow_write)
    writing = asyncio.create_task(cache.put(cache.made(key, 1, [], b"{}")))
    await asyncio.sleep(0)
    await cache.forget(session.id)
    assert await writing
    assert not redis.exists(key)


async def test_a_rebuild_makes_prompts_anew_as_well(log: SessionLog, redis: Redis) -> None:
    session = await talked(log, "u1", "MINE")
    await log.rebuild_views()
    assert not redis.exists(log._parts.prompts.key(session.id))
    assert session.id not in log._parts.prompts._memory._entries
    assert "MINE" in str(await session.prompt())
