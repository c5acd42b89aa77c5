"""What the pages for operators say of signals, connections, roles and refusals is so."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support import programs
from tests.support.database import rows
from tests.support.processes import Child
from tests.support.proxy import Proxy
from tests.support.recording import numbers
from tests.support.roles import make_log
from tests.support.sessions import contents, ends
from tests.support.writers import begun
from turnlog import (
    AppendConflictError,
    Session,
    SessionLog,
    Settings,
    StoreUnavailableError,
    TurnInProgressError,
)
from turnlog.infrastructure.append import aggregate
from turnlog.infrastructure.store.commit_recovery import Unreached, outcome_of
from turnlog.infrastructure.store.connecting import KEEPALIVE

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


def test_a_host_that_is_gone_is_noticed_within_half_a_minute() -> None:
    silent = KEEPALIVE["keepalives_idle"] + KEEPALIVE["keepalives_interval"] * KEEPALIVE["keepalives_count"]
    assert silent <= 30


# Roles


@pytest.fixture
def as_reader(settings: Settings) -> str:
    """The URL of the reader's role."""
    make_log(settings)
    return make_conninfo(**{**conninfo_to_dict(settings.database_url or ""), "user": "turnlog_reader"})


@pytest.mark.owner
def test_the_reader_does_not_read_the_secret_of_the_cache(settings: Settings, as_reader: str) -> None:
    reader = settings.model_copy(update={"database_url": as_reader})
    assert rows(reader, "select version is not null from turnlog_schema") == [(True,)]
    for statement in ("select cache_secret from turnlog_schema", "select * from turnlog_schema"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows(reader, statement)


@pytest.mark.owner
async def test_whoever_may_connect_can_hold_up_appends_which_are_then_refused_in_time(
    settings: Settings, as_reader: str
) -> None:
    async with SessionLog.open(settings.model_copy(update={"store_timeout_seconds": 0.5})) as log:
        session = await log.start_session("u1")
        with psycopg.connect(as_reader) as held:
            held.execute(
                f"select pg_advisory_xact_lock('{settings.database_schema}.turnlog_events_positions'"
                "::regclass::oid::integer, 0)".encode()
            )
            with pytest.raises(StoreUnavailableError):
                await session.say("Hello")
        await session.say("Hello")


# Appends that are not stored


async def test_an_append_that_always_comes_second_is_given_up(
    log: SessionLog, other_log: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await log.start_session("u1")
    await session.view()
    await other_log.session(session.id, "u1").say("first")
    monkeypatch.setattr(aggregate, "CONFLICT_SECONDS", 0)
    with pytest.raises(AppendConflictError):
        await session.say("second")
    monkeypatch.undo()
    await session.say("third")
    assert contents((await session.view()).messages) == ["first", "third"]


@pytest.mark.parametrize(
    "kind", [psycopg.errors.DiskFull, psycopg.errors.OutOfMemory, psycopg.errors.TooManyConnections]
)
def test_a_full_disk_is_an_outage_of_postgres(kind: type[psycopg.Error]) -> None:
    assert outcome_of(kind("could not extend file")) == Unreached("Postgres: could not extend file")
