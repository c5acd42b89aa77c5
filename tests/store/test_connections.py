"""Connections to Postgres: opened when they are needed, closed when nobody uses them, few where it is full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from tests.support.database import rows
from tests.support.recording import SOON
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store import connecting

IDLE = 0.2


@pytest.fixture
def counted(settings: Settings) -> Settings:
    """Settings whose connections can be told from others."""
    url = make_conninfo(**{**conninfo_to_dict(settings.database_url or ""), "application_name": "counted"})
    return settings.model_copy(update={"database_url": url})


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server counts as full."""
    monkeypatch.setattr(connecting, "ROOMY_SHARE", 0.0)
    monkeypatch.setattr(connecting, "CROWDED_IDLE_SECONDS", IDLE)


def connections(settings: Settings) -> int:
    """How many there are."""
    url = make_conninfo(**{**conninfo_to_dict(settings.database_url or ""), "application_name": "counting"})
    looking = settings.model_copy(update={"database_url": url})
    return int(rows(looking, "select count(*) from pg_stat_activity where application_name = 'counted'")[0][0])


async def fewer_than(settings: Settings, count: int) -> None:
    """Waits until there are fewer."""
    async with asyncio.timeout(SOON):
        while await asyncio.to_thread(connections, settings) >= count:
            await asyncio.sleep(0.02)


async def used(session: Session) -> None:
    """Appends, asks, and reads."""
    await session.say("hi")
    assert (await session.view()).messages
    assert [event async for event in session.events()]


async def test_connections_that_nobody_uses_are_closed_and_opened_again(counted: Settings, crowded: None) -> None:
    async with SessionLog.open(counted) as log:
        session = await log.start_session("u1")
        for _ in range(2):
            await used(session)
            assert await asyncio.to_thread(connections, counted) >= 2
            await fewer_than(counted, 1)


async def test_where_the_server_has_room_they_stay(counted: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "ROOMY_SHARE", 1.0)
    monkeypatch.setattr(connecting, "CROWDED_IDLE_SECONDS", IDLE)
    async with SessionLog.open(counted) as log:
        session = await log.start_session("u1")
        await used(session)
        await asyncio.sleep(4 * IDLE)
        there = await asyncio.to_thread(connections, counted)
        await used(session)
        assert there >= 2


async def test_a_stream_takes_one_connection(counted: Settings, crowded: None) -> None:
    async with SessionLog.open(counted) as log:
        session = await log.start_session("u1")
        async with session.completion() as answer:
            seen, until = list[int](), time.monotonic() + 8 * IDLE
            while time.monotonic() < until:
                await answer.text("delta ")
                seen.append(await asyncio.to_thread(connections, counted))
            await answer.finish()
    assert seen[-1] == 1


@pytest.fixture
def narrow(settings: Settings) -> Iterator[Settings]:
    """As a role that has six connections and no more."""
    role = f"{settings.database_schema}_narrow"
    named = {"role": Identifier(role), "schema": Identifier(settings.database_schema)}
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        admin.execute(SQL("create role {role} login connection limit 6").format(**named))
        admin.execute(SQL("create schema {schema} authorization {role}").format(**named))
        url = make_conninfo(**{**conninfo_to_dict(settings.database_url or ""), "user": role})
        yield settings.model_copy(update={"database_url": url})
        admin.execute(SQL("drop schema {schema} cascade").format(**named))
        admin.execute(SQL("drop role {role}").format(**named))


@pytest.mark.owner
async def test_more_processes_than_a_server_has_room_for_wait_for_each_other(narrow: Settings, crowded: None) -> None:
    async with AsyncExitStack() as stack:
        logs = await asyncio.gather(*(stack.enter_async_context(SessionLog.open(narrow)) for _ in range(5)))

        async def work(log: SessionLog) -> None:
            session = await log.start_session("u1")
            for number in range(3):
                async with session.completion() as answer:
                    for _ in range(20):
                        await answer.text(f"{number} ")
                        await asyncio.sleep(0.01)
                    await answer.finish()
                assert await log.list_sessions("u1")

        await asyncio.gather(*map(work, logs))
