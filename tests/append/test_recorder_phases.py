"""What becomes of a recording that is stopped in each of its phases, and of the step and the stream that it has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.recording import chunk
from turnlog import Session, SessionLog, StepClosedError
from turnlog.infrastructure.append.stream_recorder import Phase


class Stream:
    """Says one word, and then waits, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0
        self.is_closed = False

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> dict[str, Any]:
        self.asked += 1
        if self.asked == 1:
            return chunk("Hello")
        if self.error is not None:
            raise self.error
        await asyncio.sleep(3_600)
        raise AssertionError

    async def aclose(self) -> None:
        self.is_closed = True


async def statuses(session: Session) -> list[tuple[str, str | None]]:
    return [(step.status, step.note) for turn in (await session.view()).turns for step in turn.steps]


async def test_closed_before_it_began_a_recording_leaves_no_step(session: Session) -> None:
    stream = Stream()
    recording = session.record(stream)
    await recording.aclose()
    assert recording._recorder._phase is Phase.UNOPENED
    assert (stream.asked, stream.is_closed, await statuses(session)) == (0, True, [])
    with pytest.raises(StopAsyncIteration):
        await anext(recording)


async def test_stopped_before_its_task_ran_a_recording_closes_its_stream(session: Session) -> None:
    stream = Stream()
    recording = session.record(stream)
    recorder = recording._recorder
    recorder.start()
    recorder.stop()
    assert recorder._phase is Phase.UNOPENED
    await recorder.over()
    assert (stream.asked, stream.is_closed, await statuses(session)) == (0, True, [])


async def test_stopped_while_its_step_is_opened_a_recording_reads_nothing(log: SessionLog, session: Session) -> None:
    stream = Stream()
    recording = session.record(stream)
    recorder = recording._recorder
    recorder.start()
    async with asyncio.timeout(10):
        while session._aggregate.version < 2:  # it is decided that the step begins, and that is not stored yet
            await asyncio.sleep(0)
    assert recorder._phase is Phase.OPENING
    recorder.stop()
    await recorder.over()
    assert recorder._phase is Phase.UNOPENED
    assert (stream.asked, stream.is_closed) == (0, True)
    assert await statuses(session) == [("interrupted", "cancelled")]
    assert (log._parts.stream_recorders, set(log._parts.lease.live)) == (set(), set())


async def test_stopped_while_it_records_a_recording_ends_its_step_once(session: Session) -> None:
    stream = Stream()
    recording = session.record(stream)
    await anext(recording)
    recorder = recording._recorder
    assert recorder._phase is Phase.RECORDING
    recorder.stop()
    recorder.stop(ValueError("too late"))
    await recorder.over()
    assert recorder._phase is Phase.ENDED
    await recording.aclose()
    assert (stream.is_closed, await statuses(session)) == (True, [("interrupted", "closed early")])


async def test_a_step_that_somebody_else_has_ended_is_lost(session: Session) -> None:
    stream = Stream()
    recording = session.record(stream)
    await anext(recording)
    await session.cancel("enough")
    with pytest.raises(StopAsyncIteration):
        await anext(recording)
    assert recording._recorder._phase is Phase.LOST
    assert (stream.is_closed, await statuses(session)) == (True, [("interrupted", "enough")])


async def test_a_stream_that_says_another_step_is_closed_fails_its_own_step(log: SessionLog, session: Session) -> None:
    """As one does that reads another recording."""
    recording = session.record(Stream(StepClosedError("another", "taken over")))
    assert await anext(recording) == chunk("Hello")
    with pytest.raises(StepClosedError) as raised:
        await anext(recording)
    assert raised.value.step_id == "another"
    ((status, _),) = await statuses(session)
    assert status == "failed"
    assert (set(log._parts.lease.live), log._parts.watcher._steps) == (set(), {})
