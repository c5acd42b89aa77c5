"""Outages of Postgres in the middle of appends: no hole, nothing twice, nobody left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from tests.support.proxy import Proxy
from tests.support.recording import chunk, numbers, text_of
from tests.support.sessions import ends, last_step
from turnlog import SYSTEM, AppendRefusedError, MessageId, SessionLog, Settings, StoreUnavailableError
from turnlog.domain.events import TextDelta
from turnlog.infrastructure.store import commit_recovery, group_commit
from turnlog.infrastructure.store.feed import read_batch


@pytest.fixture
async def proxied(settings: Settings, proxy: Proxy) -> AsyncIterator[SessionLog]:
    through = settings.model_copy(update={"database_url": proxy.url, "store_timeout_seconds": 1.0})
    async with SessionLog.open(through) as log:
        yield log


async def test_the_writer_goes_on_after_a_recording_was_given_up(proxied: SessionLog, proxy: Proxy) -> None:
    session, other = await proxied.start_session("u1"), await proxied.start_session("u1")
    seen = list[str]()

    async def consume() -> None:
        async for one in session.record(numbers(400, pause=0.005)):
            seen.append(text_of(one))
            if len(seen) == 100:
                proxy.refuses = True
                proxy.cut_all()

    with pytest.raises(StoreUnavailableError):
        await consume()
    proxy.refuses = False

    async with asyncio.timeout(10):
        await other.say("hello")
        assert str((await last_step(session)).message.content).startswith("".join(seen))


async def test_an_answer_whose_last_words_were_lost_has_not_finished(settings: Settings, proxy: Proxy) -> None:
    through = {"database_url": proxy.url, "store_timeout_seconds": 1.0, "lease_seconds": 3.0}
    release = asyncio.Event()

    async def provider() -> AsyncIterator[dict[str, Any]]:
        yield chunk("one ")
        await release.wait()
        yield chunk("two ")
        yield chunk(finish_reason="stop")

    async with SessionLog.open(settings.model_copy(update=through)) as log:
        session = await log.start_session("u1")
        await session.record_in_background(provider())
        async for recorded in session.follow():
            if isinstance(recorded.event, TextDelta):
                break
        proxy.refuses = True
        proxy.cut_all()
        release.set()
        async with asyncio.timeout(10):
            while not log._parts.lease._unended:  # both the words and the end are given up
                await asyncio.sleep(0.1)
            proxy.refuses = False
            while (await last_step(session)).status == "open":  # the end is tried again
                await asyncio.sleep(0.1)

        assert await ends(session) == [("failed", "one ")]


async def test_what_was_decided_on_top_of_a_lost_text_is_not_stored_without_it(
    proxied: SessionLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Batches of one stand for those of many streams; Postgres is back when the first one is given up.
    monkeypatch.setattr(group_commit, "HAND_OVER", 1)
    monkeypatch.setattr(group_commit, "MAX_BATCH_EVENTS", 1)
    session = await proxied.start_session("u1")
    others = [await proxied.start_session("u1") for _ in range(3)]
    release, saying, given_up = asyncio.Event(), list[asyncio.Task[str]](), list[tuple[bytes, bytes]]()

    async def provider() -> AsyncIterator[dict[str, Any]]:
        yield chunk("one ")
        await release.wait()
        yield chunk("two ")
        yield chunk("three ")
        saying.extend(asyncio.create_task(other.say("hello")) for other in others)
        await asyncio.sleep(0.05)
        yield chunk("four ")
        await asyncio.sleep(60)

    await session.record_in_background(provider())
    await asyncio.sleep(0.3)
    recovery = proxied._parts.group_commit._recovery
    fail, call = recovery._fail, recovery._wire.call

    def failing(batch: Any, error: Any) -> None:
        given_up.append((batch[0].id_bytes, batch[0].rows[1]))
        proxy.refuses = False
        fail(batch, error)

    async def slow(parameters: Any) -> Any:
        await asyncio.sleep(0 if proxy.refuses else 0.2)
        return await call(parameters)

    recovery._fail, recovery._wire.call = failing, slow  # type: ignore[method-assign]
    proxy.refuses = True
    proxy.cut_all()
    release.set()
    async with asyncio.timeout(10):
        while not given_up or (await last_step(session)).status == "open":
            await asyncio.sleep(0.1)
        said = await asyncio.gather(*saying, return_exceptions=True)

    assert given_up[0][0] == session.id.bytes
    assert b'"text":"two "' in given_up[0][1]
    assert await ends(session) == [("failed", "one ")]
    assert any(isinstance(outcome, str) for outcome in said), "Postgres was not back"


@pytest.mark.parametrize(
    ("refusal", "outcomes"),
    [
        # A standby that is not promoted yet is waited for; any other refusal is the appends' own.
        (psycopg.errors.ReadOnlySqlTransaction, [type(None), type(None)]),
        (psycopg.errors.InsufficientPrivilege, [StoreUnavailableError, type(None)]),
    ],
)
async def test_a_lost_answer_is_not_doubled_by_a_server_that_refuses(
    log: SessionLog, monkeypatch: pytest.MonkeyPatch, refusal: type[psycopg.Error], outcomes: list[type]
) -> None:
    sessions = [await log.start_session("u1") for _ in range(2)]
    answers = [await session.completion().__aenter__() for session in sessions]
    wire, refusals = log._parts.group_commit._wire, 2
    send, call = wire.send, wire.call

    def losing(parameters: Any, answered: Any) -> None:
        wire.send = send  # type: ignore[method-assign]
        send(parameters, lambda *_: answered(None, psycopg.OperationalError("the server went away")))

    async def refusing(parameters: Any) -> Any:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise refusal("not now")
        return await call(parameters)

    monkeypatch.setattr(wire, "send", losing)
    monkeypatch.setattr(wire, "call", refusing)
    found = await asyncio.gather(*(answer.text("Hello") for answer in answers), return_exceptions=True)

    assert list(map(type, found)) == outcomes
    assert [await ends(session) for session in sessions] == [[("open", "Hello")]] * 2


async def test_an_append_that_cannot_be_sent_is_refused_and_the_others_are_stored(
    log: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await log.start_session("u1") for _ in range(3)]
    pack = group_commit.pack_appends

    def packed(batch: Any, *more: Any) -> Any:
        if any(append.id_bytes == sessions[1].id.bytes for append in batch):
            raise OverflowError("too large for its column")
        return pack(batch, *more)

    for module in (group_commit, commit_recovery):
        monkeypatch.setattr(module, "pack_appends", packed)
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*(session.say("hi") for session in sessions), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [MessageId, AppendRefusedError, MessageId]
    await sessions[0].say("and on")


async def test_a_failure_in_what_is_told_of_an_append_keeps_nobody_else_waiting(
    proxied: SessionLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await proxied.start_session("u1") for _ in range(2)]

    def failing(*_: Any) -> None:
        raise RuntimeError("somebody's mistake")

    monkeypatch.setattr(sessions[0]._aggregate, "settled", failing)
    proxy.refuses = True
    proxy.cut_all()
    forgotten, told = [asyncio.create_task(session.say("hi")) for session in sessions]
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailableError):
            await told
        proxy.refuses = False
        await sessions[1].say("there again")
    forgotten.cancel()


async def test_all_who_wait_while_postgres_is_away_are_told_in_time(
    proxied: SessionLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "HAND_OVER", 25)
    monkeypatch.setattr(group_commit, "MAX_BATCH_EVENTS", 100)
    proxy.refuses = True
    proxy.cut_all()
    async with asyncio.timeout(4):  # of several batches, each of which could wait for a second
        outcomes = await asyncio.gather(*(proxied.start_session("u1") for _ in range(800)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
    proxy.refuses = False
    await proxied.start_session("u1")


async def test_after_what_a_failover_has_lost_nothing_is_appended(log: SessionLog, settings: Settings) -> None:
    """An asynchronous standby may lack the last commits: the log goes on behind what is there."""
    session, other = await log.start_session("u1"), await log.start_session("u1")
    for text in ("one", "two", "three"):
        await session.say(text)
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(
            f"delete from {settings.database_schema}.turnlog_events where originator_version > 2".encode()
        )
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
            " and backend_type = 'client backend'"
        )
    await other.say("first after it")
    await session.say("four")

    assert [event.position async for event in session.events()] == [1, 2, 3]
    async with SessionLog.open(settings) as another:
        view = await another.session(session.id, SYSTEM).view()
        assert [message["content"] for message in view.messages] == ["one", "four"]


async def test_a_sequence_that_lags_behind_the_log_is_set_right(log: SessionLog, settings: Settings) -> None:
    sessions = [await log.start_session("u1") for _ in range(2)]
    await asyncio.gather(*(sessions[0].say(f"{number}") for number in range(500)))
    for together in (1, 2):
        with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
            connection.execute(f"select setval('{settings.database_schema}.turnlog_events_positions', 1)".encode())
        async with asyncio.timeout(5):
            await asyncio.gather(*(session.say("more") for session in sessions[:together]))

    assert [(await session.view()).version for session in sessions] == [503, 2]


TOPICS = ("session-started.v1", "message-added.v1")


class LogReader:
    """A reader of the whole log, which has come as far as there is anything."""

    def __init__(self, log: SessionLog, settings: Settings) -> None:
        self._recorder = log._parts.store.recorder
        self._positions = f"{settings.database_schema}.turnlog_events_positions"
        self._url = settings.database_url or ""
        self._after = 0

    def seen(self) -> int:
        """How many events have come since the last time."""
        count = 0
        while (batch := read_batch(self._recorder, self._after, TOPICS)).id != self._after:
            count, self._after = count + len(batch.rows), batch.id
        return count

    def set_sequence(self, to: str) -> None:
        """The sequence alone is set, as by hand or by a restore."""
        with psycopg.connect(self._url, autocommit=True) as admin:
            admin.execute(f"select setval('{self._positions}', {to})".encode())


@pytest.mark.parametrize("writer", ["the last one", "another one", "a new process"])
async def test_what_is_stored_after_the_sequence_went_back_is_missed_by_no_reader_of_the_log(
    log: SessionLog, other_log: SessionLog, settings: Settings, writer: str
) -> None:
    """Into a gap, where nothing collides."""
    session, reader = await log.start_session("u1"), LogReader(log, settings)
    theirs = await other_log.start_session("u2")
    events = f"{settings.database_schema}.turnlog_events"
    reader.set_sequence(f"(select max(notification_id) + 1000 from {events})")
    await session.say("beyond the gap")
    assert reader.seen() == 3

    reader.set_sequence(f"(select max(notification_id) - 700 from {events})")
    async with SessionLog.open(settings) as third:
        await {
            "the last one": session, "another one": theirs, "a new process": third.session(session.id, "u1")
        }[writer].say("after")  # fmt: skip
        await theirs.say("and on")

    assert reader.seen() == 2
    positions = [event.log_position async for event in session.events()]
    assert positions == sorted(positions)
