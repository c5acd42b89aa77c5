"""The queue between the reader of a stream and its consumer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from turnlog.infrastructure.append.read_ahead import SHARE, ReadAhead


def pending() -> asyncio.Future[int]:
    return asyncio.get_running_loop().create_future()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def show(queue: ReadAhead[int], count: int) -> None:
    """Chunks that go through the queue one by one."""
    for number in range(count):
        asked = asyncio.create_task(queue.has_next())
        await queue.room()
        queue.put(number, None)
        assert await asked
        assert queue.take() == number


async def test_a_chunk_is_given_in_order_and_when_its_append_is_stored() -> None:
    queue, first, second = ReadAhead[str](8), pending(), pending()
    queue.put("a", first)
    queue.put("b", second)
    asked = asyncio.create_task(queue.has_next())
    second.set_result(1)
    queue.wake()
    await settle()
    assert not asked.done()
    first.set_result(1)
    queue.wake()
    assert await asked
    assert (queue.take(), await queue.has_next(), queue.take()) == ("a", True, "b")


@pytest.mark.parametrize("failure", [ValueError("lost"), asyncio.CancelledError()])
async def test_with_an_append_that_failed_nothing_after_it_is_given(failure: BaseException) -> None:
    queue, first, second = ReadAhead[str](8), pending(), pending()
    queue.put("a", first)
    queue.put("b", second)
    second.set_result(1)
    first.cancel() if isinstance(failure, asyncio.CancelledError) else first.set_exception(failure)
    queue.close()
    assert not await queue.has_next()


async def test_a_closed_queue_gives_what_is_left_in_it() -> None:
    queue = ReadAhead[str](8)
    queue.put("a", None)
    queue.close()
    assert (await queue.has_next(), queue.take(), await queue.has_next()) == (True, "a", False)


async def test_for_a_consumer_that_has_left_nothing_is_queued() -> None:
    queue = ReadAhead[str](8)
    asked = asyncio.create_task(queue.has_next())
    await settle()
    queue.leave()
    queue.put("a", None)
    assert not await asked
    assert not await queue.has_next()


@pytest.mark.parametrize(("limit", "shown", "ahead"), [(64, 0, 0), (64, 40, 2), (64, 10_000, 64), (0, 10_000, 0)])
async def test_the_reader_is_ahead_by_a_share_of_what_was_shown_up_to_a_limit(
    limit: int, shown: int, ahead: int
) -> None:
    queue = ReadAhead[int](limit)
    await show(queue, shown)
    for number in range(ahead):
        assert not queue.is_full
        queue.put(number, None)
    assert queue.is_full


async def test_a_reader_that_stays_level_reads_only_what_is_asked_for() -> None:
    queue = ReadAhead[int](64)
    await show(queue, 10 * SHARE)
    queue.stay_level()
    assert queue.is_full
    waiting: asyncio.Task[Any] = asyncio.create_task(queue.room())
    await settle()
    assert not waiting.done()
    asked = asyncio.create_task(queue.has_next())
    await waiting
    queue.put(1, None)
    assert await asked


async def test_a_reader_without_a_limit_is_never_held_up() -> None:
    queue = ReadAhead[int](None)
    queue.stay_level()
    for number in range(1_000):
        assert not queue.is_full
        queue.put(number, None)
