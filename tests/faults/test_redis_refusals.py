"""Redis answers, but refuses: only what it refuses is done without it, and that is logged once."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, exceptions

from tests.support.killable_servers import short_lived_folder
from tests.support.sessions import FEW_SECONDS, answer, checked_prompt
from tests.support.strict_valkey import REFUSALS, saying, strict_valkey
from tests.support.views import settled
from turnlog import SYSTEM, Session, SessionLog, Settings
from turnlog.infrastructure import redis_calls, redis_refusals
from turnlog.infrastructure.redis_refusals import NEEDED, NO_CONNECTION, WRONG_TYPE, refusal_code


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_lived_folder() as path:
        yield path


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was refused is tried again all the time."""
    monkeypatch.setattr(redis_refusals, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(redis_refusals, "LAST_PAUSE", 0.02)
    monkeypatch.setattr(redis_calls, "PROBE_SECONDS", 0.02)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def converse(log: SessionLog, times: int = 3) -> list[Session]:
    """Conversations in which every answer is checked; another handler follows one of them."""
    sessions = [await log.start_session("u1") for _ in range(3)]
    following = asyncio.create_task(_followed_to(sessions[0], 2 + 2 * times))
    await sessions[0].view()
    for number in range(times):
        for session in sessions:
            await session.say(f"question {number} " + "x" * 3_000)
            await session.add_message("assistant", f"answer {number}")
        for session in sessions:
            assert len((await session.view()).messages) == 2 * (number + 1)
            assert len(await checked_prompt(session)) == 2 * (number + 1)
        await asyncio.gather(*(session.view() for session in sessions * 3))
        await asyncio.sleep(0.03)
    await sessions[0].say("the end")
    async with asyncio.timeout(FEW_SECONDS):
        await following
    return sessions


async def _followed_to(session: Session, position: int) -> None:
    async for event in session.follow():
        if event.position == position:
            return


@pytest.mark.servers
@pytest.mark.parametrize("what", REFUSALS)
async def test_a_refusal_is_logged_once_with_what_to_do_and_changes_no_answer(
    settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    options, refused, advice = REFUSALS[what]
    with strict_valkey(folder, *options) as url:
        async with SessionLog.open(settings.model_copy(update={"redis_url": url})) as log:
            await converse(log)
    (line,) = warnings_in(caplog)
    assert line.startswith("Redis refuses ")
    assert refused in line
    assert advice in line


@pytest.mark.servers
async def test_a_user_who_may_only_what_is_needed_meets_no_refusal(
    settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needed = [f"+{command.strip()}" for command in NEEDED.split(",")]
    prefix = settings.cache_prefix
    with strict_valkey(folder, "--user", "app", "on", ">pw", f"~{prefix}*", f"&{prefix}*", "-@all", *needed) as url:
        mine = url.replace("unix://", "unix://app:pw@")
        async with SessionLog.open(settings.model_copy(update={"redis_url": mine})) as log:
            session = (await converse(log))[0]
            await settled(log)
            assert await log._parts.views._cache.get(log._parts.views.key(session.id))
            assert await log.delete_session(session.id, "u1")
    assert warnings_in(caplog) == []


@pytest.mark.servers
async def test_a_server_without_a_connection_left_is_logged_a_few_times_at_most(
    settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may close a connection before the driver has read why: then it looks like an outage of that connection."""
    with strict_valkey(folder, "--maxclients", "3") as url:
        async with SessionLog.open(settings.model_copy(update={"redis_url": url})) as log:
            await converse(log, 12)
    assert 1 <= len(warnings_in(caplog)) <= 4


@pytest.mark.servers
async def test_a_full_server_is_still_read_and_its_end_is_logged_once(
    settings: Settings, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with strict_valkey(folder) as url, Redis.from_url(url) as client:
        forgetful = settings.model_copy(update={"redis_url": url, "prompt_memory_bytes": 0})
        async with SessionLog.open(forgetful) as log:
            session = (await converse(log))[0]
            await session.view()
            await settled(log)
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            await session.say("hello")
            for _ in range(5):
                await session.view()
                await settled(log)
                await asyncio.sleep(0.02)
            hits: Any = client.info("stats")
            await session.view()
            assert client.info("stats")["keyspace_hits"] > hits["keyspace_hits"]
            assert len(warnings_in(caplog)) == 1
            client.config_set("maxmemory", 0)
            await session.view()
            await settled(log)
            assert len(warnings_in(caplog)) == 1  # it may be full again for the next value
            monkeypatch.setattr(redis_refusals, "CALM_SECONDS", 0.1)
            await asyncio.sleep(0.15)
            for number in range(3):
                await session.say(f"again {number}")
                await session.view()
                await settled(log)
    assert warnings_in(caplog)[1:] == ["Redis allows again what it refused (OOM)"]


async def test_pauses_between_tries_grow_and_calls_that_fail_together_are_one_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_refusals, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(redis_refusals, "LAST_PAUSE", 60.0)
    now, tried = 1_000.0, list[float]()
    monkeypatch.setattr(redis_refusals.time, "monotonic", lambda: now)
    refusals = redis_refusals.Refusals()
    while now < 1_400:
        assert refusals.allows("read")
        if refusals.allows("write"):
            tried.append(now)
            for _ in range(10):
                refusals.refused("write", "OOM")
        now += 0.25
    assert [later - earlier for earlier, later in pairwise(tried)] == [1, 2, 4, 8, 16, 32, *[60] * 5]


# A server that goes and comes, or that is no Redis


async def test_a_server_that_goes_and_comes_all_the_time_is_not_logged_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = redis_calls.RedisCalls(None)
    for _ in range(50):
        calls.failed("read", exceptions.ConnectionError("gone"))
        calls.answered("read")
    assert len(warnings_in(caplog)) == 3


NONSENSE = (
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"$abc\r\n",
    b"$-7\r\nSECRET\r\n",
    b":12\r\n" * 5,
    b"*1\r\n" * 2_000,
    b"-WEIRD SECRET\r\n",
    b"-\xff\r\n",
)


@pytest.mark.servers
@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_a_server_that_answers_nonsense_changes_no_answer(
    settings: Settings, caplog: pytest.LogCaptureFixture, nonsense: bytes
) -> None:
    async with saying(nonsense) as url:
        odd = settings.model_copy(update={"redis_url": url, "redis_timeout_seconds": 0.1})
        async with SessionLog.open(odd) as log:
            session = await log.start_session("u1")
            following = session.follow()
            await anext(following)
            for number in range(4):
                await session.say(f"question {number}")
                await answer(session, "answer")
                assert len((await session.view()).messages) == 2 * (number + 1)
                await checked_prompt(session)
                await asyncio.sleep(0.03)
            await following.aclose()
            assert await log.delete_session(session.id, SYSTEM)
    assert len(warnings_in(caplog)) <= 3
    assert "SECRET" not in caplog.text


# Which is which


OUTAGES = {
    "ConnectionError",
    "TimeoutError",
    "RedisError",
    "InvalidResponse",
    "DataError",
    "PubSubError",
    "WatchError",
    "LockError",
    "LockNotOwnedError",
    "ChildDeadlockedError",
    "IncorrectPolicyType",
    "ClusterError",
}
"""The driver's errors that are no answer of a server."""


def errors_of_the_driver() -> list[type[Exception]]:
    found = (
        kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if kind.__module__ == exceptions.__name__
    )
    return [kind for kind in found if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", errors_of_the_driver())
def test_each_error_of_the_driver_is_an_outage_or_a_refusal(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    assert (refusal_code(error) is None) == (kind.__name__ in OUTAGES)


ANSWERS = {
    "OOM command not allowed when used memory > 'maxmemory'.": "OOM",
    "OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:15.": "OOM",
    "READONLY You can't write against a read only replica.": "READONLY",
    "ERR Error running script (call to f_1): @user_script:9: -READONLY You can't write against one": "READONLY",
    "NOPERM this user has no permissions to run the 'evalsha' command": "NOPERM",
    "NOPERM User x has no permissions to access one of the channels used as arguments": "NOPERM",
    "ERR The user executing the script can't run this command or subcommand": "NOPERM",
    "NOAUTH Authentication required.": "NOAUTH",
    "NOAUTH HELLO must be called with the client already authenticated, or with the AUTH option": "NOAUTH",
    "WRONGPASS invalid username-password pair or user is disabled.": "WRONGPASS",
    "ERR invalid password": "WRONGPASS",
    "MOVED 3999 127.0.0.1:6381": "MOVED",
    "ASK 3999 127.0.0.1:6381": "ASK",
    "CROSSSLOT Keys in request don't hash to the same slot": "CROSSSLOT",
    "CLUSTERDOWN Hash slot not served": "CLUSTERDOWN",
    "TRYAGAIN Multiple keys request during rehashing of slot": "TRYAGAIN",
    "LOADING Redis is loading the dataset in memory": "LOADING",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": "BUSY",
    "MISCONF Redis is configured to save RDB snapshots, but is unable to persist to disk.": "MISCONF",
    "NOREPLICAS Not enough good replicas to write.": "NOREPLICAS",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "MASTERDOWN",
    "NOSCRIPT No matching script. Please use EVAL.": "NOSCRIPT",
    "ERR max number of clients reached": "MAXCLIENTS",
    "ERR unknown command 'EVALSHA', with args beginning with: ": "UNKNOWN",
    "ERR Unknown Redis command called from script": "UNKNOWN",
    "WRONGTYPE Operation against a key holding the wrong kind of value": WRONG_TYPE,
    "ERR something else": "ERR",
}


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_known_by_its_code_also_where_it_comes_while_the_driver_connects(text: str) -> None:
    from redis._parsers.base import BaseParser

    error = BaseParser.parse_error(text)
    lost = exceptions.ConnectionError("Connection lost")
    lost.__cause__ = error
    assert refusal_code(error) == refusal_code(lost) == ANSWERS[text]


async def test_a_process_without_a_free_connection_is_neither(caplog: pytest.LogCaptureFixture) -> None:
    assert refusal_code(exceptions.ConnectionError("Too many connections")) == NO_CONNECTION
    calls = redis_calls.RedisCalls(None)
    calls.failed("read", exceptions.ConnectionError("Too many connections"))
    assert calls._refusals.allows("read")
    assert warnings_in(caplog) == []
