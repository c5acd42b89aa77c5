"""Deltas of many streams wait a little for each other; nothing else waits, and no stream does that is alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from tests.support.sessions import positions
from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.appends import Append, Lane
from turnlog.infrastructure.store.pacing import Pacing

WAIT = 0.002


class Owner:
    """Somebody's session."""

    id_bytes = b"0" * 16
    stored_commit_id = 0

    def settled(self, append: Append, error: Exception | None) -> None:
        """Nobody asks."""


def delta(stored_at: float) -> Append:
    """A delta of a stream of which another one was stored at this time."""
    append = Append(Owner())
    append.is_patient, append.lane = True, Lane()
    append.lane.stored_at = stored_at
    return append


def busy(now: float, longest: float = WAIT) -> Pacing:
    """As after a second in which a delta came every tenth of a millisecond, from streams that were quiet before."""
    pacing = Pacing(longest)
    for number in range(10_000):
        pacing.queued(delta(-10.0), now - 1 + number / 10_000)
        if number % 4 == 3:
            pacing.sent(0)
    return pacing


def test_where_many_come_a_delta_waits_for_the_longest_time() -> None:
    pacing = busy(5.0)
    pacing.queued(delta(4.9), 5.0)
    pacing.queued(delta(4.9), 5.001)
    assert pacing.due == pytest.approx(5.0 + WAIT)


@pytest.mark.parametrize("pause", [0.0001, 0.0019, 0.0021, 0.004, 0.03])
@pytest.mark.parametrize("longest", [0.002, 0.05, 1.0])
def test_one_stream_alone_never_waits(pause: float, longest: float) -> None:
    pacing, now = Pacing(longest), 1.0
    for _ in range(2_000):
        pacing.queued(delta(now - pause), now)
        assert pacing.due <= now
        pacing.sent(0)
        now += 0.0005 + pause


def test_after_many_have_gone_the_one_that_is_left_does_not_wait() -> None:
    pacing = busy(5.0)
    pacing.queued(delta(4.9), 6.0)
    assert pacing.due <= 6.0


def test_what_is_no_fragment_goes_at_once_and_takes_along_what_waits() -> None:
    pacing = busy(5.0)
    pacing.queued(delta(4.9), 5.0)
    pacing.queued(Append(Owner()), 5.0005)
    assert pacing.due <= 5.0005


def test_a_stream_that_goes_on_at_once_is_not_slowed_down() -> None:
    pacing = busy(5.0)
    pacing.queued(delta(4.9), 5.0)
    pacing.queued(delta(5.0002), 5.0003)
    assert pacing.due == pytest.approx(5.0004)


def test_what_was_left_in_the_queue_has_waited() -> None:
    pacing = busy(5.0)
    pacing.queued(delta(4.9), 5.0)
    pacing.sent(1)
    pacing.queued(delta(4.9), 5.001)
    assert pacing.due < 5.0


def test_with_no_wait_nothing_waits() -> None:
    pacing = busy(5.0, 0.0)
    pacing.queued(delta(4.9), 5.0)
    assert pacing.due <= 5.0


@pytest.mark.parametrize("value", ["-1", "1001", "nan", "soon"])
def test_a_wait_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(InvalidInputError):
        Settings.from_env({"TURNLOG_COMMIT_WAIT_MS": value})


# On real servers

STREAMS, DELTAS, PACE_SECONDS = 40, 15, 0.02


@pytest.fixture
async def patient_log(settings: Settings) -> AsyncIterator[SessionLog]:
    async with SessionLog.open(settings.model_copy(update={"commit_wait_ms": 50.0})) as log:
        yield log


async def _paced(answers: Sequence[Completion]) -> list[float]:
    """Each answer at the same pace, and none in step with another. How long each delta took."""
    began, waits = time.perf_counter(), list[float]()

    async def stream(number: int, answer: Completion) -> None:
        for count in range(DELTAS):
            due = began + (count + number / len(answers)) * PACE_SECONDS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            called = time.perf_counter()
            await answer.text(f"{count} ")
            waits.append(time.perf_counter() - called)

    await asyncio.gather(*(stream(number, answer) for number, answer in enumerate(answers)))
    return waits


async def test_many_paced_streams_share_commits_and_lose_nothing(settings: Settings) -> None:
    commits = {}
    for wait in (0.0, 10.0):
        async with SessionLog.open(settings.model_copy(update={"commit_wait_ms": wait})) as log, AsyncExitStack() as st:
            sessions = [await log.start_session("u1") for _ in range(STREAMS)]
            answers = [await st.enter_async_context(session.completion()) for session in sessions]
            before = log.writer_statistics.commits
            await _paced(answers)
            commits[wait] = log.writer_statistics.commits - before
            for session, answer in zip(sessions, answers, strict=True):
                await answer.finish()
                (turn,) = (await session.view()).turns
                assert turn.steps[0].message.content == "".join(f"{count} " for count in range(DELTAS))
                assert await positions(session) == list(range(1, DELTAS + 4))
    assert commits[10.0] < commits[0.0] / 2


async def test_one_stream_among_none_is_acknowledged_at_once(patient_log: SessionLog) -> None:
    session = await patient_log.start_session("u1")
    async with session.completion() as answer:
        waits = await _paced([answer])
        await answer.finish()
    assert sorted(waits)[len(waits) // 2] < 0.025


async def test_a_message_among_many_streams_waits_for_none_of_them(patient_log: SessionLog) -> None:
    async with AsyncExitStack() as stack:
        sessions = [await patient_log.start_session("u1") for _ in range(STREAMS)]
        answers = [await stack.enter_async_context(session.completion()) for session in sessions]
        talker = await patient_log.start_session("u1")
        streaming = asyncio.create_task(_paced(answers))
        said = list[float]()
        while not streaming.done():
            called = time.perf_counter()
            await talker.say("hi")
            said.append(time.perf_counter() - called)
            await asyncio.sleep(0.03)
        await streaming
    assert sorted(said)[len(said) // 2] < 0.025


async def test_closing_a_log_waits_for_nothing(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"commit_wait_ms": 1000.0})) as log, AsyncExitStack() as st:
        sessions = [await log.start_session("u1") for _ in range(STREAMS)]
        answers = [await st.enter_async_context(session.completion()) for session in sessions]
        await asyncio.sleep(0.3)  # all are quiet
        group_commit = log._parts.group_commit
        pacing, loop = group_commit._pacing, asyncio.get_running_loop()
        pacing._lately, pacing._faded_at = 1e9, loop.time()  # as if many others were to come
        texts = [asyncio.create_task(answer.text("last")) for answer in answers]
        await asyncio.sleep(0.05)
        assert pacing.due > loop.time()
        assert not any(text.done() for text in texts)
        began = time.perf_counter()
        await group_commit.close()
        await asyncio.gather(*texts)
        assert time.perf_counter() - began < 0.5
        st.pop_all()
