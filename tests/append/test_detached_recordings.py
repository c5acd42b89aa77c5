"""Recordings that go on when their client goes away, or never had one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.recording import SOON, Words, chunk, show, until_shown
from tests.support.sessions import last_step
from turnlog import Session, SessionLog, Step, TurnInProgressError

A_SECOND = 1.5


async def ended(session: Session) -> Step:
    """The last step, once it has ended."""
    async with asyncio.timeout(SOON):
        async for _ in session.follow(until_turn_ends=True):
            pass
    return await last_step(session)


@pytest.mark.parametrize("way", ["break", "cancel", "aclose"])
async def test_a_detached_recording_goes_on_to_its_end_when_its_consumer_goes_away(session: Session, way: str) -> None:
    await session.say("Hello")
    words, said = Words("Hel", "lo "), list[str]()
    recording = session.record(words.stream(), detached=True)
    if way == "break":
        await show(recording, said, enough=1)
    else:
        task = asyncio.create_task(show(recording, said))
        await until_shown(said, 2)
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


async def test_a_detached_recording_whose_consumer_left_before_it_is_recorded(session: Session) -> None:
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
