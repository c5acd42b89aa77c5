"""Stopping an answer: from any process, once, with its partial kept and the provider's stream closed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.support import programs
from tests.support.processes import Child
from tests.support.recording import SOON, Words, chunk, numbers, show, text_of, until_shown
from tests.support.sessions import assert_conversation_goes_on, last_step
from turnlog import Session, SessionLog, SessionNotFoundError, Settings, StepClosedError
from turnlog.domain.events import CompletionFinished, CompletionInterrupted, StepEnd
from turnlog.infrastructure.append import provider_stream
from turnlog.testing import FakeProvider, Recorded, own_corpus

A_SECOND = 1.5


async def step_ends(session: Session) -> list[StepEnd]:
    return [recorded.event async for recorded in session.events() if isinstance(recorded.event, StepEnd)]


# From another process


@pytest.mark.parametrize("redis_url", ["redis", "none"])
async def test_a_recording_that_waits_is_stopped_from_another_process(
    settings: Settings, session: Session, redis_url: str
) -> None:
    """Within about a second, and the provider sees its connection closed."""
    places = settings if redis_url == "redis" else settings.model_copy(update={"redis_url": "none"})
    plain = next(stream for stream in own_corpus() if stream.name == "plain-text")
    slow = replace(plain, name="slow", delays_ms=(0.0,) * 4 + (60_000.0,) * (len(plain.chunks) - 4))
    played = FakeProvider([Recorded(slow)], pace=0.001)
    await session.say("Hello")
    with played as provider, Child(programs.ask, places, session.id, provider.base_url) as handler:
        async with asyncio.timeout(3 * SOON), SessionLog.open(places) as log:
            said = [await handler.hear() for _ in range(4)]
            assert await log.session(session.id, "u1").cancel("the user pressed stop")
            async with asyncio.timeout(A_SECOND):
                assert await handler.hear() == "ended"
                while provider.disconnects != 1:
                    await asyncio.sleep(0.01)
    step = await last_step(session)
    assert (step.status, step.note) == ("interrupted", "the user pressed stop")
    assert step.message.content == "".join(text or "" for text in said)
    await assert_conversation_goes_on(session)


async def test_an_answer_whose_process_is_dead_is_stopped_all_the_same(settings: Settings, session: Session) -> None:
    with Child(programs.record, settings, session.id, 0.01) as recorder:
        for _ in range(5):
            await recorder.hear()
        recorder.kill()
    assert await session.cancel()
    step = await last_step(session)
    assert (step.status, step.note) == ("interrupted", "stopped")
    assert str(step.message.content).startswith("0 1 2 3 4 ")
    await assert_conversation_goes_on(session)


# Once


async def test_nothing_is_recorded_where_nothing_is_open(session: Session) -> None:
    for _ in range(2):
        assert not await session.cancel()
    await session.say("Hello")
    version = (await session.view()).version
    assert not await session.cancel()
    assert (await session.view()).version == version


async def test_of_several_who_stop_an_answer_one_did(session: Session, other_log: SessionLog) -> None:
    words, said = Words("a", "b"), list[str]()
    recording = asyncio.create_task(show(session.record(words.stream()), said))
    await until_shown(said, 2)
    theirs = other_log.session(session.id, "u1")
    answers = await asyncio.gather(*(one.cancel() for one in (session, theirs, session, theirs, theirs)))
    async with asyncio.timeout(SOON):
        await recording
        await words.is_closed.wait()
    assert answers.count(True) == 1
    assert not await theirs.cancel()
    assert len(await step_ends(session)) == 1


async def test_a_cancel_at_the_moment_of_the_natural_end_is_one_end_and_says_which(
    log: SessionLog, other_log: SessionLog
) -> None:
    async def race(number: int) -> tuple[bool, list[StepEnd], list[str]]:
        session, said = await log.start_session("u1"), list[str]()
        theirs = (session, other_log.session(session.id, "u1"))[number % 2]
        words = Words(*"abcdefghij")
        words.goes_on.set()
        recording = asyncio.create_task(show(session.record(words.stream()), said))
        await asyncio.sleep(random.Random(number).random() * 0.03)
        cancelled = await theirs.cancel()
        async with asyncio.timeout(SOON):
            await recording
            await words.is_closed.wait()
        return cancelled, await step_ends(session), said

    outcomes = await asyncio.gather(*(race(number) for number in range(60)))
    for cancelled, found, _ in outcomes:
        assert len(found) == 1
        assert isinstance(found[0], CompletionInterrupted if cancelled else CompletionFinished)


# What the writer gets


async def test_a_recording_that_is_stopped_ends_as_at_the_end_of_the_stream(session: Session, log: SessionLog) -> None:
    words, said = Words("Hel", "lo"), list[str]()
    recording = session.record(words.stream())
    task = asyncio.create_task(show(recording, said))
    await until_shown(said, 2)
    assert await session.cancel("enough")
    async with asyncio.timeout(A_SECOND):
        await task
    assert words.is_closed.is_set()
    step = await last_step(session)
    assert (step.status, step.note, step.message.content) == ("interrupted", "enough", "Hello")
    with pytest.raises(StopAsyncIteration):
        await anext(recording)
    assert log._parts.stream_recorders == set()
    assert log._parts.lease.live == set()


async def test_a_stopped_completion_gets_the_reason_at_its_next_append(
    session: Session, other_log: SessionLog, caplog: pytest.LogCaptureFixture
) -> None:
    async def write() -> None:
        async with session.completion() as completion:
            await completion.text("Hel")
            assert await other_log.session(session.id, "u1").cancel("enough")
            await completion.text("lo")

    with pytest.raises(StepClosedError) as raised:
        await write()
    assert (raised.value.step_id, raised.value.reason) == ((await last_step(session)).step_id, "enough")
    assert (await last_step(session)).message.content == "Hel"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_stopped_completion_is_told_why_when_it_finishes(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("x")
        await session.cancel("enough")
        with pytest.raises(StepClosedError) as raised:
            await completion.finish()
    assert raised.value.reason == "enough"


@pytest.mark.parametrize("waits", [True, False])
async def test_a_takeover_is_an_error_to_a_writer_that_waits_for_its_provider_too(
    session: Session, log: SessionLog, other_log: SessionLog, waits: bool
) -> None:
    words, said = Words("Hel"), list[str]()
    recording = asyncio.create_task(show(session.record(words.stream()), said))
    await until_shown(said, 1)
    # As if it had been paused for longer than its lease.
    await log._parts.store.leases.drop(log._parts.lease.writer_id)
    async with other_log.session(session.id, "u1").completion(takeover=True) as completion:
        await completion.text("I take over.")
        if not waits:
            words.goes_on.set()
        async with asyncio.timeout(A_SECOND):
            with pytest.raises(StepClosedError):
                await recording
        await completion.finish()
    assert words.is_closed.is_set()
    assert [step.status for step in (await session.view()).turns[0].steps] == ["abandoned", "finished"]


async def test_a_recording_of_a_deleted_session_ends_with_the_same_answer_as_any_call(
    session: Session, other_log: SessionLog
) -> None:
    words, said = Words("Hel"), list[str]()
    recording = asyncio.create_task(show(session.record(words.stream()), said))
    await until_shown(said, 1)
    assert await other_log.delete_session(session.id, "u1")
    async with asyncio.timeout(A_SECOND):
        with pytest.raises(SessionNotFoundError):
            await recording
    assert words.is_closed.is_set()


async def test_a_stop_that_is_still_on_its_way_to_the_log_is_no_error_to_the_writer(
    session: Session, settings: Settings
) -> None:
    """The next delta is refused by what was decided, before that is stored."""
    said, stopping = list[str](), None
    with psycopg.connect(str(settings.database_url)) as other_writer:
        async for piece in session.record(numbers(100_000, [])):
            said.append(text_of(piece))
            if len(said) == 5:
                other_writer.execute(f"lock table {settings.database_schema}.turnlog_events in exclusive mode")
                stopping = asyncio.create_task(session.cancel("enough"))
                asyncio.get_running_loop().call_later(0.3, other_writer.commit)
                await asyncio.sleep(0.05)
        assert stopping is not None
        assert await stopping
    assert (await last_step(session)).message.content == "".join(said)


async def test_a_provider_that_goes_on_when_it_is_cancelled_records_no_more(session: Session) -> None:
    async def stubborn() -> AsyncIterator[dict[str, Any]]:
        for number in range(1_000_000):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.005)
            yield chunk(f"{number} ")

    said: list[str] = []
    recording = asyncio.create_task(show(session.record(stubborn()), said))
    await until_shown(said, 3)
    assert await session.cancel()
    async with asyncio.timeout(A_SECOND):
        await recording
    assert (await last_step(session)).status == "interrupted"


async def test_a_stream_that_does_not_close_holds_up_neither_a_stop_nor_a_close(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck:
        def __aiter__(self) -> Stuck:
            return self

        async def __anext__(self) -> dict[str, Any]:
            await asyncio.sleep(0.01)
            return chunk("x")

        async def aclose(self) -> None:
            await asyncio.sleep(3_600)

    monkeypatch.setattr(provider_stream, "CLOSING_SECONDS", 0.2)
    async with asyncio.timeout(10):
        async with SessionLog.open(settings) as log:
            session = await log.start_session("u1")
            await session.record_in_background(Stuck())
            await session.cancel("enough")
            await session.record_in_background(Stuck())
