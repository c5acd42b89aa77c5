"""Followers that are slow, that leave, and that come and go together."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

import pytest

from tests.support.followers import followed, some
from tests.support.recording import SOON, record_texts
from tests.support.sessions import stored_events, turn
from turnlog import Following, Session, SessionLog
from turnlog.infrastructure.follow import source as follow_source


async def test_a_slow_follower_is_bounded_in_memory_and_catches_up(
    session: Session, log: SessionLog, other_log: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_source, "RECENT_EVENTS", 100)
    monkeypatch.setattr(follow_source, "FOLLOW_PAGE_EVENTS", 50)
    slow = other_log.session(session.id, "u1").follow()
    seen = await some(slow, 1)
    await session.say("Count.")
    await record_texts(session, *(f"{n} " for n in range(1000)))
    (source,) = other_log._parts.watcher._sources.values()
    async with asyncio.timeout(SOON):
        while source.position < 1003:
            await asyncio.sleep(0.01)
    assert len(source._recent) <= 100
    while len(seen) < 1004:
        seen += await some(slow, 1)
        assert len(slow._ready) <= 50
    assert [event.position for event in seen] == list(range(1, 1005))


async def test_large_events_that_a_slow_follower_has_not_taken_are_not_kept(session: Session, log: SessionLog) -> None:
    slow = session.follow()
    await some(slow, 1)
    for number in range(8):
        await session.say(f"{number}" * 400_000)
    (source,) = log._parts.watcher._sources.values()
    async with asyncio.timeout(SOON):
        while source.position < 9:
            await asyncio.sleep(0.01)
    assert source._bytes <= follow_source.RECENT_BYTES
    assert sum(len(event.event.to_json()) for event in source._recent) <= follow_source.RECENT_BYTES
    assert [event.position for event in await some(slow, 8)] == list(range(2, 10))


@pytest.mark.parametrize("way", ["break", "aclose", "cancel", "let go"])
async def test_a_follower_that_leaves_leaves_nothing_behind(session: Session, log: SessionLog, way: str) -> None:
    async def loop_over(following: Following) -> None:
        async for _ in following:
            if way == "break":
                break

    following = session.follow()
    task = asyncio.create_task(loop_over(following))
    await followed(log)
    if way == "aclose":
        await following.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(following)
    if way != "break":
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task, following
    await asyncio.sleep(0)
    gc.collect()
    assert log._parts.watcher._sources == {}


async def test_a_call_that_timed_out_has_taken_nothing(session: Session) -> None:
    following = session.follow()
    seen = await some(following, 1)
    for number in range(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(following), 0.02)
        await session.say(str(number))
        seen += await some(following, 1)
    assert seen == await stored_events(session)


async def test_a_follower_is_not_left_alone_by_one_that_came_with_it_and_has_gone(session: Session) -> None:
    await turn(session, 0)
    version = (await session.view()).version
    until_end, for_ever = session.follow(version, until_turn_ends=True), session.follow(version)
    first, second = asyncio.create_task(anext(until_end)), asyncio.create_task(anext(for_ever))
    with pytest.raises(StopAsyncIteration):
        await first
    await session.say("more")

    assert (await asyncio.wait_for(second, 5)).position == version + 1


async def test_a_follower_that_is_cancelled_before_it_has_begun_leaves_nothing_behind(
    log: SessionLog, session: Session
) -> None:
    following = session.follow()
    task = asyncio.create_task(anext(following))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await following.aclose()
    await asyncio.sleep(0.5)

    assert log.follow_statistics.sessions == 0
