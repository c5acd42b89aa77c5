"""A log that is closed: what is under way ends, whoever waits is told, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from redis import Redis

from tests.support.followers import followed, to_the_end
from tests.support.proxy import Proxy
from tests.support.recording import Words, show, until_shown
from tests.support.sessions import contents, last_step
from turnlog import LogClosedError, Session, SessionLog, Settings


async def test_closing_the_log_stores_what_was_accepted(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        session = await log.start_session(user_id="u1")
        tasks = [asyncio.create_task(session.say(str(number))) for number in range(200)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    async with SessionLog.open(settings) as log:
        assert contents((await log.session(session.id, "u1").view()).messages) == [str(number) for number in range(200)]


async def test_a_closed_log_says_so(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        session = await log.start_session(user_id="u1")
    with pytest.raises(LogClosedError):
        await session.say("late")
    with pytest.raises(LogClosedError):
        await session.view()
    with pytest.raises(LogClosedError):
        await log.start_session(user_id="u1")


async def test_a_closed_log_leaves_neither_a_task_nor_a_connection(
    settings: Settings, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    tasks, connections = asyncio.all_tasks(), len(redis.client_list())
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
        waiting = asyncio.create_task(anext(session.follow(1)))
        while log.follow_statistics.followers == 0:
            await asyncio.sleep(0)
        await (await log.start_session("u1")).completion().__aenter__()
    assert asyncio.all_tasks() - tasks <= {waiting}
    assert len(redis.client_list()) == connections
    assert caplog.messages == []
    with pytest.raises(LogClosedError):
        await waiting


async def test_a_log_that_is_closed_waits_for_its_background_work(settings: Settings) -> None:
    positions = list[int]()
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")

        async def work() -> None:
            await asyncio.sleep(0.2)
            standing = await log._parts.store.standings.ask(session.id)
            assert standing is not None
            positions.append(standing.position)

        log._parts.background.spawn(work())
    assert positions == [1]


async def test_a_prompt_is_not_left_waiting_by_a_log_that_is_closed(settings: Settings, proxy: Proxy) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        through = settings.model_copy(update={"database_url": proxy.url, "reap_seconds": 0})
        async with SessionLog.open(through) as log:
            session = await log.start_session("u1")
            path = proxy._listener.getsockname()
            os.unlink(path)  # noqa: PTH108 from here on nobody answers a new connection
            deaf.bind(path)
            deaf.listen()
            waiting = asyncio.create_task(session.prompt())
            await asyncio.sleep(0.3)
        await asyncio.wait([waiting], timeout=15)
    assert waiting.done()
    waiting.exception()


# Recordings


async def test_closing_the_log_interrupts_what_is_recorded_and_closes_its_stream(settings: Settings) -> None:
    words, watched, said = Words("Hel"), Words("Hal"), list[str]()
    async with SessionLog.open(settings) as log:
        one, two = await log.start_session("u1"), await log.start_session("u1")
        await one.record_in_background(words.stream())
        recording = asyncio.create_task(show(two.record(watched.stream()), said))
        await until_shown(said, 1)
    with pytest.raises(LogClosedError):
        await recording
    assert words.is_closed.is_set()
    assert watched.is_closed.is_set()
    async with SessionLog.open(settings) as log:
        for session_id, text in ((one.id, "Hel"), (two.id, "Hal")):
            step = await last_step(log.session(session_id, "u1"))
            assert (step.status, step.note, step.message.content) == ("interrupted", "the log was closed", text)


class Endless:
    """A provider that never says anything."""

    def __init__(self) -> None:
        self.closed = 0

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(3600)

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("way", ["its consumer leaves", "the log is closed"])
async def test_a_recording_that_ends_before_it_has_begun_closes_its_stream(settings: Settings, way: str) -> None:
    stream = Endless()
    async with SessionLog.open(settings.model_copy(update={"reap_seconds": 0})) as log:
        recording = (await log.start_session("u1")).record(stream)
        task = asyncio.create_task(anext(recording))
        await asyncio.sleep(0)
        if way == "its consumer leaves":
            await recording.aclose()
    await asyncio.wait([task], timeout=5)

    assert task.done()
    assert stream.closed == 1


async def test_a_recording_is_told_that_its_log_was_closed(settings: Settings) -> None:
    async def endless() -> AsyncIterator[Any]:
        yield {"choices": [{"delta": {"content": "a"}}]}
        await asyncio.sleep(3600)

    async with SessionLog.open(settings) as log:
        recording = (await log.start_session("u1")).record(endless())
        await anext(recording)
        waiting = asyncio.create_task(anext(recording))
        await asyncio.sleep(0)
    with pytest.raises(LogClosedError):
        await asyncio.wait_for(waiting, 5)


# Followers


async def test_closing_the_log_ends_its_followers_with_an_error(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
        tasks = [asyncio.create_task(to_the_end(session)) for _ in range(3)]
        await followed(log, 3)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LogClosedError] * 3
    with pytest.raises(LogClosedError):
        await anext(session.follow())


async def test_a_follower_that_comes_while_the_log_is_closed_is_told(log: SessionLog, session: Session) -> None:
    watcher = log._parts.watcher
    opening = watcher._open

    async def closed_meanwhile(session_id: UUID, watched: bool) -> Any:
        source = await opening(session_id, watched)
        watcher._is_closed = True  # the rest of closing waits for this
        return source

    watcher._open = closed_meanwhile  # type: ignore[method-assign]
    with pytest.raises(LogClosedError):
        await anext(session.follow())
    assert log.follow_statistics.sessions == 0


# Positions


async def test_who_asks_for_a_position_when_the_log_was_closed_is_told_nothing(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
        await session.prompt()
        store = log._parts.store
    late = store.standings.ask(session.id)
    assert (late.done() and late.result(), store.standings._wire and store.standings._wire.is_open) == (None, False)


async def test_who_asks_for_a_position_while_the_log_is_closed_opens_no_connection(
    log: SessionLog, session: Session
) -> None:
    await session.prompt()
    store = log._parts.store
    positions = store.standings
    under_way, waiting = store.standings.ask(session.id), store.standings.ask(session.id)
    positions.close()
    assert [answer.done() and answer.result() for answer in (under_way, waiting)] == [None, None]
    assert positions._opening is None or positions._opening.done()
