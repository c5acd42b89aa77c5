"""A partial answer stays, whatever ends its stream: a reload, a consumer that leaves, an error, a cancelled task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from tests.support.recording import chunk, played, show, text_of, until_shown
from tests.support.sessions import answer, assert_conversation_goes_on, contents, only_step
from turnlog import Session, SessionLog


async def endless(*, fails_after: int | None = None) -> AsyncIterator[dict[str, Any]]:
    number = 0
    while number != fails_after:
        yield chunk(f"{number} ")
        await asyncio.sleep(0)
        number += 1
    raise ConnectionResetError("the provider hung up")


async def test_a_reload_in_the_middle_of_an_answer_shows_all_that_was_shown(
    session: Session, other_log: SessionLog
) -> None:
    shown = ""
    async for piece in session.record(played(chunk("Once "), chunk("upon "), chunk("a time."))):
        shown += text_of(piece)
        reloaded = await other_log.session(session.id, "u1").view()
        assert only_step(reloaded).message.content == shown
        assert reloaded.turns[0].status == "open"


async def test_a_consumer_that_stops_leaves_its_partial_answer_interrupted(session: Session) -> None:
    shown = ""
    async for piece in session.record(endless()):
        shown += text_of(piece)
        if len(shown) > 20:
            break
    step = only_step(await session.view())
    assert (step.status, step.message.content, step.finish_reason) == ("interrupted", shown, None)
    assert step.note
    assert contents((await session.view()).messages) == [shown]  # no marker in the text
    await assert_conversation_goes_on(session)


async def test_a_consumer_that_stops_at_the_finish_reason_leaves_a_finished_answer(session: Session) -> None:
    async for piece in session.record(played(chunk("Done."), chunk(finish_reason="stop"), chunk("never read"))):
        if piece["choices"][0]["finish_reason"]:
            break
    step = only_step(await session.view())
    assert (step.status, step.finish_reason, step.message.content) == ("finished", "stop", "Done.")


async def test_a_consumer_that_raises_gets_its_own_exception(session: Session) -> None:
    with pytest.raises(ZeroDivisionError):
        await show_and_raise(session.record(endless()))
    step = only_step(await session.view())
    assert (step.status, step.message.content) in {("interrupted", "0 "), ("failed", "0 ")}
    await assert_conversation_goes_on(session)


async def show_and_raise(stream: AsyncIterator[dict[str, Any]]) -> None:
    async for _ in stream:
        raise ZeroDivisionError


async def test_a_client_that_disconnects_leaves_the_partial_answer_of_its_handler(session: Session) -> None:
    async def handler() -> AsyncGenerator[str, None]:
        async for piece in session.record(endless()):
            yield text_of(piece)

    response = handler()
    shown = [await anext(response) for _ in range(5)]
    await response.aclose()
    step = only_step(await session.view())
    assert (step.status, step.message.content) == ("interrupted", "".join(shown))
    await assert_conversation_goes_on(session)


async def test_a_recording_that_is_closed_leaves_its_partial_answer_interrupted(session: Session) -> None:
    recording = session.record(endless())
    shown = text_of(await anext(recording))
    await recording.aclose()
    step = only_step(await session.view())
    assert (step.status, step.message.content) == ("interrupted", shown)
    with pytest.raises(StopAsyncIteration):
        await anext(recording)


async def test_a_cancelled_task_leaves_its_partial_answer_interrupted(session: Session) -> None:
    shown: list[str] = []
    task = asyncio.create_task(show(session.record(endless()), shown))
    await until_shown(shown, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    step = only_step(await session.view())
    assert step.status == "interrupted"
    assert str(step.message.content).startswith("".join(shown))
    await assert_conversation_goes_on(session)


async def test_a_provider_that_raises_leaves_its_partial_answer_failed(session: Session) -> None:
    shown: list[str] = []
    with pytest.raises(ConnectionResetError, match="the provider hung up"):
        await show(session.record(endless(fails_after=3)), shown)
    step = only_step(await session.view())
    assert (step.status, step.message.content) == ("failed", "0 1 2 ")
    assert shown == ["0 ", "1 ", "2 "]
    assert step.note == "ConnectionResetError: the provider hung up"
    await assert_conversation_goes_on(session)


async def test_a_provider_that_raises_at_once_leaves_a_failed_step(session: Session) -> None:
    with pytest.raises(ConnectionResetError):
        await anext(session.record(endless(fails_after=0)))
    assert only_step(await session.view()).status == "failed"
    assert await session.prompt() == []
    await assert_conversation_goes_on(session)


# Completions by hand


@pytest.mark.parametrize(
    ("error", "status", "note"),
    [
        (asyncio.CancelledError(), "interrupted", "cancelled"),
        (RuntimeError("no more"), "failed", "RuntimeError: no more"),
    ],
)
async def test_a_completion_that_an_exception_ends_says_so_and_raises_it(
    session: Session, error: BaseException, status: str, note: str
) -> None:
    with pytest.raises(type(error)) as raised:
        await answer_and_raise(session, "Half an ans", error)
    assert raised.value is error
    step = only_step(await session.view())
    assert (step.status, step.note, step.message.content) == (status, note, "Half an ans")
    await assert_conversation_goes_on(session)


async def answer_and_raise(session: Session, text: str, error: BaseException) -> None:
    async with session.completion() as completion:
        await completion.text(text)
        raise error


async def test_a_completion_that_is_left_without_finish_is_interrupted(session: Session) -> None:
    async with session.completion() as completion:
        await completion.text("Half an ans")
    step = only_step(await session.view())
    assert (step.status, step.note, step.message.content) == ("interrupted", "closed early", "Half an ans")
    await assert_conversation_goes_on(session)


# At any moment


async def test_a_task_cancelled_at_any_moment_leaves_no_step_open(log: SessionLog) -> None:
    sessions = [await log.start_session("u1") for _ in range(40)]
    for moment, session in enumerate(sessions):
        task = asyncio.create_task(answer(session, "Hel", "lo"))
        await asyncio.sleep(moment * 0.0003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    left_open = [moment for moment, session in enumerate(sessions) if await has_open_step(session)]
    assert left_open == []


async def test_a_recording_cancelled_at_any_moment_leaves_no_step_open(log: SessionLog) -> None:
    sessions = [await log.start_session("u1") for _ in range(40)]
    for moment, session in enumerate(sessions):
        task = asyncio.create_task(show(session.record(endless()), []))
        await asyncio.sleep(moment * 0.0003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    left_open = [moment for moment, session in enumerate(sessions) if await has_open_step(session)]
    assert left_open == []


async def has_open_step(session: Session) -> bool:
    return any(step.status == "open" for turn in (await session.view()).turns for step in turn.steps)


async def test_a_view_waits_for_an_append_whose_caller_was_cancelled(session: Session) -> None:
    """Such a message may be stored or not, but it does not turn up behind the back of who has read since."""
    task = asyncio.create_task(session.say("Hello"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    at_once = await session.view()
    await asyncio.sleep(0.1)
    assert await session.view() == at_once
