"""Chunks that hold much are recorded in pieces, and what is too large fails its step and loses nothing before it."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import pytest

from tests.support.recording import chunk, played
from turnlog import LimitExceededError, Session
from turnlog.domain import decide, decide_step
from turnlog.domain.limits import MAX_MESSAGE_LENGTH, MAX_NAME_LENGTH, PIECE_LENGTH
from turnlog.infrastructure.append.chunks import ChatReader
from turnlog.infrastructure.append.chunks.reader import PIECE_COMMANDS
from turnlog.infrastructure.clock import now

LONGEST_PART = 4
"""Others wait at most for this part of the processor time that it takes. In one go it would be nearly all: a part and
not seconds, because a busy machine is slower in all of them."""


def call(index: int, name: str | None = "find", arguments: str = "{}") -> dict[str, Any]:
    return {"index": index, "id": f"c{index}", "function": {"name": name, "arguments": arguments}}


async def longest_pause(pauses: list[float]) -> None:
    before = time.thread_time()
    while True:
        await asyncio.sleep(0)
        pauses.append(time.thread_time() - before)
        before = time.thread_time()


async def test_thousands_of_calls_in_one_chunk_do_not_hold_up_the_loop(session: Session) -> None:
    gc.collect()
    gc.freeze()  # to look through what other tests have left is no work of the recording
    try:
        await _records_thousands_of_calls(session)
    finally:
        gc.unfreeze()


async def _records_thousands_of_calls(session: Session) -> None:
    pauses = list[float]()
    watching = asyncio.create_task(longest_pause(pauses))
    async for _ in session.record(played(chunk(None, *map(call, range(3_000))))):
        pass
    watching.cancel()
    (step,) = (await session.view()).turns[0].steps
    assert [c.id for c in step.message.tool_calls] == [f"c{index}" for index in range(3_000)]
    assert max(pauses) < sum(pauses) / LONGEST_PART


async def test_a_long_text_in_one_chunk_comes_back_whole(session: Session) -> None:
    text = "".join(f"{n} \U0001f600 \ud83d" for n in range(PIECE_LENGTH // 4))
    async for _ in session.record(played(chunk(text))):
        pass
    assert (await session.view()).turns[0].steps[0].message.content == text


def test_a_chunk_is_read_in_pieces() -> None:
    reader = ChatReader("s1", now)
    calls = chunk("x" * (2 * PIECE_LENGTH), *map(call, range(3 * PIECE_COMMANDS)))
    pieces = list(reader.read(calls))
    assert max(map(len, pieces)) <= PIECE_COMMANDS
    assert sum(map(len, pieces)) == 2 + 3 * PIECE_COMMANDS


def test_a_response_does_not_grow_for_ever() -> None:
    reader, part = ChatReader("s1", now), chunk("x" * (MAX_MESSAGE_LENGTH // 8))
    for _ in range(8):
        assert list(reader.read(part))
    with pytest.raises(LimitExceededError) as error:
        list(reader.read(part))
    assert (error.value.field, error.value.limit) == ("response", MAX_MESSAGE_LENGTH)


async def test_a_name_that_does_not_end_fails_its_step_and_what_was_shown_stays(session: Session) -> None:
    fragments = [chunk("Wait."), *(chunk(None, call(0, f"{n:09}.", "")) for n in range(1_000))]
    shown = list[Any]()

    async def show() -> None:
        async for one in session.record(played(*fragments)):
            shown.append(one)

    with pytest.raises(LimitExceededError, match="name"):
        await show()
    (step,) = (await session.view()).turns[0].steps
    assert (step.status, step.message.content) == ("failed", "Wait.")
    assert len(step.message.tool_calls[0].name) == 10 * (MAX_NAME_LENGTH // 10)
    assert len(shown) == 1 + MAX_NAME_LENGTH // 10


async def test_a_response_has_a_limited_number_of_calls(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide_step, "MAX_CALLS", 3)
    async with session.completion() as completion:
        for index in range(3):
            await completion.tool_call(f"c{index}", "find")
        await completion.tool_call("c1", "find")  # again
        with pytest.raises(LimitExceededError, match="tool_calls"):
            await completion.tool_call("c3", "find")
        await completion.finish("tool_calls")
    assert len((await session.view()).pending_tool_calls) == 3


async def test_a_session_has_a_limited_number_of_counters(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "MAX_COUNTERS", 2)
    for key in ("a", "b", "a"):
        await session.increment("clicks", key)
    with pytest.raises(LimitExceededError, match="counters"):
        await session.increment("clicks", "c")
    assert (await session.view()).counters == {"clicks": {"a": 2, "b": 1}}


async def test_metadata_is_limited_as_a_whole_and_can_always_be_made_smaller(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    await session.set_metadata({"a": "x" * 200_000})
    with pytest.raises(LimitExceededError, match="metadata"):
        await session.set_metadata({"b": "x" * 100_000})
    monkeypatch.setattr("turnlog.domain.inputs.MAX_METADATA_BYTES", 10)
    await session.set_metadata({"a": "still too long"})
    assert (await session.view()).metadata == {"a": "still too long"}
