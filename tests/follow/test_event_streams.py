"""Server-sent events: what a browser gets, when it need not come back, and how the streams of a process end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import openai
import pytest

from tests.support.followers import SOON
from tests.support.openai_client import client_of
from turnlog import (
    EventStreams,
    InvalidInputError,
    Session,
    SessionLog,
    SessionNotFoundError,
    UnknownPositionError,
)
from turnlog.infrastructure.follow.event_streams import JOINED_LENGTH
from turnlog.infrastructure.follow.stream_forms import StreamForm
from turnlog.testing import Answer, FakeProvider

MODEL = "any"
RETRY = "retry: 1000\n\n"


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture
async def client(provider: FakeProvider) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(provider) as opened:
        yield opened


async def heard(streams: EventStreams, session: Session, after: int | str | None = None) -> list[str]:
    """All of a stream, to its end."""
    async with asyncio.timeout(SOON):
        return [line async for line in await streams.open(session, after)]


def fields(line: str) -> dict[str, str]:
    return dict(row.split(": ", 1) for row in line.strip().splitlines())


def end_of(lines: list[str]) -> Any:
    last = fields(lines[-1])
    assert (last["event"], "id" in last) == ("end", False)
    return json.loads(last["data"])


async def test_an_answer_is_told_from_any_event_on_and_its_end_is_the_last_event(
    session: Session, client: openai.AsyncOpenAI
) -> None:
    outcome = await session.answer(client, model=MODEL, message="Hello", message_id="m-1")
    async with EventStreams() as streams:
        every = await heard(streams, session)
        assert every[0] == RETRY
        events = [fields(line) for line in every[1:-1]]
        assert [int(event["id"].partition("-")[0]) for event in events] == list(range(1, outcome.position + 1))
        assert {"message", "step_started", "text", "step_ended"} <= {event["event"] for event in events}
        assert end_of(every) == {"turn_id": "m-1", "status": "finished", "reason": ""}
        for index, event in enumerate(events, 2):
            assert await heard(streams, session, event["id"]) == [RETRY, *every[index:]]
        assert await heard(streams, session, "3") == await heard(streams, session, 3) == [RETRY, *every[4:]]
        assert await heard(streams, session, "") == await heard(streams, session, None) == every


@pytest.mark.parametrize("form", [StreamForm(), StreamForm(events=True), StreamForm(lines=True)])
async def test_what_is_there_already_is_told_at_once_and_not_in_one_piece(session: Session, form: StreamForm) -> None:
    await session.say("Hello", message_id="m-1")
    async with session.completion() as completion:
        for _ in range(40):
            await completion.text("x" * 4_000)
        await completion.finish("stop")
    async with EventStreams() as streams:
        singly = [text async for text in await streams.open(session, form=form)]
        together = [text async for text in await streams.open(session, form=replace(form, joined=True))]
    assert "".join(together) == "".join(singly)
    assert len(together) < len(singly) / 3
    assert max(map(len, together)) < JOINED_LENGTH + 5_000


async def test_what_cannot_be_followed_is_refused_before_there_is_anything_to_send(
    log: SessionLog, session: Session
) -> None:
    async with EventStreams() as streams:
        with pytest.raises(SessionNotFoundError):
            await streams.open(log.session(session.id, "somebody else"))
        with pytest.raises(UnknownPositionError):
            await streams.open(session, "17")
        with pytest.raises(UnknownPositionError):
            await streams.open(session, "1-abc")  # the log went back before the event that the browser has
        for nonsense in ("x", "1-", "٣", "9" * 400):
            with pytest.raises(InvalidInputError):
                await streams.open(session, nonsense)
    for wrong in (0, -1, "1", float("nan")):
        with pytest.raises(InvalidInputError):
            EventStreams(heartbeat_seconds=wrong)  # type: ignore[arg-type]


async def test_a_stream_on_which_nothing_comes_has_heartbeats_and_loses_nothing(session: Session) -> None:
    async with EventStreams(heartbeat_seconds=0.05, retry_seconds=2.5) as streams, asyncio.timeout(SOON):
        lines = await streams.open(session)
        first, _started = await anext(lines), await anext(lines)
        assert first == "retry: 2500\n\n"
        assert [await anext(lines) for _ in range(3)] == [":\n\n"] * 3
        await session.say("Hello", message_id="m-1")
        later = await anext(lines)
        while later == ":\n\n":
            later = await anext(lines)
        assert json.loads(fields(later)["data"])["message_id"] == "m-1"
        await lines.aclose()


async def test_a_stream_ends_after_the_last_of_the_turns_that_wait(
    session: Session, client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    provider.add(Answer("One", delay=0.05), Answer("Two"))
    async with EventStreams() as streams:
        first = await session.answer(client, model=MODEL, message="1", message_id="m-1").begun()
        second = await session.answer(client, model=MODEL, message="2", message_id="m-2", on_busy="queue").begun()
        lines = await heard(streams, session)
        await first, await second
    assert end_of(lines)["turn_id"] == "m-2"
    assert sum("event: end\n" in line for line in lines) == 1


async def test_an_abandoned_turn_is_waited_for_until_somebody_has_gone_on_with_it(
    session: Session, client: openai.AsyncOpenAI
) -> None:
    await session.say("Hello", message_id="m-1")
    with pytest.raises(asyncio.CancelledError):
        async with session.turn():
            raise asyncio.CancelledError
    assert (await session.view()).turns[-1].status == "abandoned"
    async with EventStreams(heartbeat_seconds=0.05) as streams, asyncio.timeout(SOON):
        lines, told = await streams.open(session), list[str]()
        async for line in lines:
            told.append(line)
            if told.count(":\n\n") == 3:
                break
        await session.answer(client, model=MODEL)
        told += [line async for line in lines]
    assert end_of(told) == {"turn_id": "m-1", "status": "finished", "reason": ""}
    assert any("event: text\n" in line for line in told)


async def test_a_deleted_session_is_the_end(log: SessionLog, session: Session) -> None:
    async with EventStreams() as streams, asyncio.timeout(SOON):
        lines = await streams.open(session)
        told = [await anext(lines), await anext(lines)]
        await log.delete_session(session.id, "u1")
        told += [line async for line in lines]
    assert fields(told[-2])["event"] == "deleted"
    assert end_of(told)["status"] == "deleted"


async def test_streams_end_without_an_end_of_the_turn_when_the_application_ends(session: Session) -> None:
    await session.say("Hello")
    async with EventStreams() as streams:
        reading = [asyncio.create_task(heard(streams, session)) for _ in range(3)]
        while len(streams._open) < 3:
            await asyncio.sleep(0)
        streams.end()
        for told in [*await asyncio.gather(*reading), await heard(streams, session)]:
            assert told[0] == RETRY
            assert not any("event: end\n" in line for line in told)
        assert streams._open == set()


async def test_a_stream_that_its_reader_leaves_is_followed_no_more(log: SessionLog, session: Session) -> None:
    async with EventStreams() as streams:
        lines = await streams.open(session)
        await anext(lines)
        await anext(lines)
        assert log.follow_statistics.followers == 1
        await lines.aclose()
        assert (log.follow_statistics.followers, streams._open) == (0, set())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_that_ends_the_process_ends_the_streams_and_reaches_its_own_handler(
    session: Session, number: signal.Signals
) -> None:
    servers = list[int]()

    def server(came: int, _: object) -> None:
        servers.append(came)

    before = signal.signal(number, server)
    try:
        async with EventStreams() as streams:
            reading = asyncio.create_task(heard(streams, session))
            await asyncio.sleep(0)
            os.kill(os.getpid(), number)
            assert "event: end" not in "".join(await reading)
            assert servers == [number]
        assert signal.getsignal(number) is server
    finally:
        signal.signal(number, before)


async def test_a_signal_that_nobody_handles_goes_on_to_end_the_process() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        async with EventStreams():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
