"""Stopping an answer: from any process, once, with its partial kept and the provider's stream closed; and what goes on
when a client only goes away."""

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
from tests.support.prompt_rules import check_chat_prompt
from turnlog import (
    LogClosedError,
    Session,
    SessionLog,
    SessionNotFoundError,
    Settings,
    Step,
    StepClosedError,
    TurnInProgressError,
)
from turnlog.domain.events import CompletionFinished, CompletionInterrupted, StepEnd
from turnlog.infrastructure.append import stream_recorder
from turnlog.testing import FakeProvider, Recorded, own_corpus

SOON = 10.0
A_SECOND = 1.5


@pytest.fixture
async def other_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """A second process, as far as the servers can tell."""
    async with SessionLog.open(settings) as opened:
        yield opened


class Words:
    """A provider that says words and then nothing more, until it is closed or told to go on."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.is_closed = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.read = 0

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        try:
            for word in self.words:
                self.read += 1
                yield chunk(word)
            await self.goes_on.wait()
            yield chunk("more")
            yield chunk(None, finish_reason="stop")
        finally:
            self.is_closed.set()


def chunk(text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}


async def show(stream: AsyncIterator[dict[str, Any]], shown: list[str], enough: int = 1_000_000) -> None:
    async for piece in stream:
        shown.append(piece["choices"][0]["delta"]["content"])
        if len(shown) == enough:
            return


async def shown(shown: list[str], count: int) -> None:
    async with asyncio.timeout(SOON):
        while len(shown) < count:
            await asyncio.sleep(0.005)


async def last_step(session: Session) -> Step:
    return (await session.view()).turns[-1].steps[-1]


async def ends(session: Session) -> list[StepEnd]:
    return [recorded.event async for recorded in session.events() if isinstance(recorded.event, StepEnd)]


async def ended(session: Session) -> Step:
    """The last step, once it has ended."""
    async with asyncio.timeout(SOON):
        async for _ in session.follow(until_turn_ends=True):
            pass
    return await last_step(session)


# From another process


@pytest.mark.parametrize("redis_url", ["redis", "none"])
async def test_a_recording_that_waits_for_its_provider_is_stopped_from_another_process(
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
    await goes_on(session)


async def test_an_answer_whose_process_is_dead_is_stopped_all_the_same(settings: Settings, session: Session) -> None:
    with Child(programs.record, settings, session.id, 0.01) as recorder:
        for _ in range(5):
            await recorder.hear()
        recorder.kill()
    assert await session.cancel()
    step = await last_step(session)
    assert (step.status, step.note) == ("interrupted", "stopped")
    assert str(step.message.content).startswith("0 1 2 3 4 ")
    await goes_on(session)


async def goes_on(session: Session) -> None:
    await session.say("Go on.")
    check_chat_prompt(await session.prompt())
    async with session.completion() as completion:
        await completion.text("I go on.")
        await completion.finish()
    check_chat_prompt(await session.prompt())
    assert (await last_step(session)).status == "finished"


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
    await shown(said, 2)
    theirs = other_log.session(session.id, "u1")
    answers = await asyncio.gather(*(one.cancel() for one in (session, theirs, session, theirs, theirs)))
    async with asyncio.timeout(SOON):
        await recording
        await words.is_closed.wait()
    assert answers.count(True) == 1
    assert not await theirs.cancel()
    assert len(await ends(session)) == 1


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
        return cancelled, await ends(session), said

    outcomes = await asyncio.gather(*(race(number) for number in range(60)))
    for cancelled, found, _ in outcomes:
        assert len(found) == 1
        assert isinstance(found[0], CompletionInterrupted if cancelled else CompletionFinished)


# What the writer gets


async def test_a_recording_that_is_stopped_ends_as_at_the_end_of_the_stream(session: Session, log: SessionLog) -> None:
    words, said = Words("Hel", "lo"), list[str]()
    recording = session.record(words.stream())
    task = asyncio.create_task(show(recording, said))
    await shown(said, 2)
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


async def test_a_completion_that_is_stopped_gets_a_typed_error_with_the_reason_at_its_next_append(
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


async def test_a_completion_that_is_stopped_is_told_why_when_it_finishes(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("x")
        await session.cancel("enough")
        with pytest.raises(StepClosedError) as raised:
            await completion.finish()
    assert raised.value.reason == "enough"


@pytest.mark.parametrize("waits", [True, False])
async def test_a_takeover_is_an_error_to_the_writer_also_while_it_waits_for_its_provider(
    session: Session, log: SessionLog, other_log: SessionLog, waits: bool
) -> None:
    words, said = Words("Hel"), list[str]()
    recording = asyncio.create_task(show(session.record(words.stream()), said))
    await shown(said, 1)
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
    await shown(said, 1)
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
        async for piece in session.record(counting(100_000, [])):
            said.append(piece["choices"][0]["delta"]["content"])
            if len(said) == 5:
                other_writer.execute(f"lock table {settings.database_schema}.turnlog_events in exclusive mode")
                stopping = asyncio.create_task(session.cancel("enough"))
                asyncio.get_running_loop().call_later(0.3, other_writer.commit)
                await asyncio.sleep(0.05)
        assert stopping is not None
        assert await stopping
    assert (await last_step(session)).message.content == "".join(said)


# A client that only goes away


async def test_a_providers_stream_that_does_not_close_holds_up_neither_a_stop_nor_the_end_of_a_log(
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

    monkeypatch.setattr(stream_recorder, "CLOSING_SECONDS", 0.2)
    async with asyncio.timeout(10):
        async with SessionLog.open(settings) as log:
            session = await log.start_session("u1")
            await session.record_in_background(Stuck())
            await session.cancel("enough")
            await session.record_in_background(Stuck())


@pytest.mark.parametrize("way", ["break", "cancel", "aclose"])
async def test_a_detached_recording_goes_on_to_its_end_when_its_consumer_goes_away(session: Session, way: str) -> None:
    await session.say("Hello")
    words, said = Words("Hel", "lo "), list[str]()
    recording = session.record(words.stream(), detached=True)
    if way == "break":
        await show(recording, said, enough=1)
    else:
        task = asyncio.create_task(show(recording, said))
        await shown(said, 2)
        if way == "cancel":
            task.cancel()
        await recording.aclose()
        await asyncio.gather(task, return_exceptions=True)
    del recording
    assert (await last_step(session)).status == "open"
    assert not words.is_closed.is_set()
    words.goes_on.set()
    step = await ended(session)
    assert (step.status, step.finish_reason, step.message.content) == ("finished", "stop", "Hello more")


async def test_a_detached_recording_whose_consumer_was_gone_before_it_began_is_recorded(session: Session) -> None:
    await session.say("Hello")
    words = Words("Hel", "lo ")
    words.goes_on.set()
    task = asyncio.create_task(show(session.record(words.stream(), detached=True), []))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await ended(session)).message.content == "Hello more"


async def test_an_answer_is_recorded_in_the_background_with_nobody_there(session: Session) -> None:
    await session.say("Hello")
    words = Words("Hel", "lo ")
    step_id = await session.record_in_background(words.stream())
    with pytest.raises(TurnInProgressError):
        await session.record_in_background(Words().stream())
    words.goes_on.set()
    step = await ended(session)
    assert (step.step_id, step.status, step.message.content) == (step_id, "finished", "Hello more")


async def test_an_answer_in_the_background_is_stopped_like_any_other(session: Session, other_log: SessionLog) -> None:
    await session.say("Hello")
    words = Words("Hel", "lo")
    await session.record_in_background(words.stream())
    assert await other_log.session(session.id, "u1").cancel("enough")
    async with asyncio.timeout(A_SECOND):
        await words.is_closed.wait()
    assert (await ended(session)).note == "enough"


async def test_a_provider_that_fails_in_the_background_is_in_the_log_and_said(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing() -> AsyncIterator[dict[str, Any]]:
        yield chunk("Hel")
        raise ConnectionResetError("the provider hung up")

    await session.say("Hello")
    await session.record_in_background(failing())
    step = await ended(session)
    assert (step.status, step.note) == ("failed", "ConnectionResetError: the provider hung up")
    assert "the provider hung up" in caplog.text


async def test_closing_the_log_interrupts_what_is_recorded_and_closes_its_stream(settings: Settings) -> None:
    words, watched, said = Words("Hel"), Words("Hal"), list[str]()
    async with SessionLog.open(settings) as log:
        one, two = await log.start_session("u1"), await log.start_session("u1")
        await one.record_in_background(words.stream())
        recording = asyncio.create_task(show(two.record(watched.stream()), said))
        await shown(said, 1)
    with pytest.raises(LogClosedError):
        await recording
    assert words.is_closed.is_set()
    assert watched.is_closed.is_set()
    async with SessionLog.open(settings) as log:
        for session_id, text in ((one.id, "Hel"), (two.id, "Hal")):
            step = await last_step(log.session(session_id, "u1"))
            assert (step.status, step.note, step.message.content) == ("interrupted", "the log was closed", text)


# Reading ahead


async def counting(count: int, read: list[int]) -> AsyncIterator[dict[str, Any]]:
    for number in range(count):
        read.append(number)
        yield chunk(f"{number} ")


async def test_a_stream_at_full_speed_shares_its_commits_between_many_chunks(log: SessionLog) -> None:
    session = await log.start_session("u1")
    before, said = log.writer_statistics.commits, list[str]()
    await show(session.record(counting(1000, [])), said)
    assert log.writer_statistics.commits - before < 1000 / 5
    assert said == [f"{number} " for number in range(1000)]
    assert (await last_step(session)).message.content == "".join(said)


@pytest.mark.parametrize("enough", [1, 8, 15, 40, 200, 1500])
async def test_little_more_is_recorded_than_a_consumer_that_leaves_was_shown(log: SessionLog, enough: int) -> None:
    session, said, read = await log.start_session("u1"), list[str](), list[int]()
    await show(session.record(counting(100_000, read)), said, enough)
    content = str((await last_step(session)).message.content)
    assert content.startswith("".join(said))
    assert content == "".join(f"{number} " for number in range(len(content.split())))
    assert enough <= len(content.split()) <= len(read) <= enough + min(enough // 16, 64)


async def test_without_reading_ahead_what_is_recorded_is_what_was_shown(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"read_ahead_chunks": 0})) as log:
        session, said = await log.start_session("u1"), list[str]()
        await show(session.record(counting(100_000, [])), said, 300)
        assert (await last_step(session)).message.content == "".join(said)


async def test_an_error_of_the_provider_comes_after_the_chunks_before_it(session: Session) -> None:
    async def failing() -> AsyncIterator[dict[str, Any]]:
        async for piece in counting(100, []):
            yield piece
        raise ConnectionResetError("the provider hung up")

    said: list[str] = []
    with pytest.raises(ConnectionResetError):
        await show(session.record(failing()), said)
    assert len(said) == 100
    step = await last_step(session)
    assert (step.status, step.message.content) == ("failed", "".join(said))


async def test_a_chunk_is_shown_after_its_events_are_stored_however_far_the_stream_was_read(
    session: Session, other_log: SessionLog
) -> None:
    theirs, text = other_log.session(session.id, "u1"), ""
    async for piece in session.record(counting(60, [])):
        text += piece["choices"][0]["delta"]["content"]
        stored = [getattr(recorded.event, "text", "") async for recorded in theirs.events()]
        assert "".join(stored).startswith(text)


async def test_a_provider_that_goes_on_when_it_is_cancelled_records_no_more(session: Session) -> None:
    async def stubborn() -> AsyncIterator[dict[str, Any]]:
        for number in range(1_000_000):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.005)
            yield chunk(f"{number} ")

    said: list[str] = []
    recording = asyncio.create_task(show(session.record(stubborn()), said))
    await shown(said, 3)
    assert await session.cancel()
    async with asyncio.timeout(A_SECOND):
        await recording
    assert (await last_step(session)).status == "interrupted"
