"""Followers of large events: each holds about a page of bytes, wherever it is."""

from __future__ import annotations

import tracemalloc

from turnlog import Session
from turnlog.infrastructure.follow.source import FOLLOW_PAGE_BYTES

LARGE = "x" * 100_000


async def test_a_follower_that_is_slow_holds_about_a_page_of_bytes(session: Session) -> None:
    async with session.completion() as completion:
        for _ in range(60):
            await completion.text(LARGE)
        await completion.finish("stop")
    last = (await session.view()).version
    tracemalloc.start()
    followers = [session.follow(after=after) for after in range(20)]
    taken = [await anext(follower) for follower in followers]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < len(followers) * 4 * FOLLOW_PAGE_BYTES  # as large as they are in memory, with what was read last
    for first, follower in zip(taken, followers, strict=True):
        rest = [event.position async for event in session.follow(after=first.position, until_turn_ends=True)]
        assert rest == list(range(first.position + 1, last + 1))
        await follower.aclose()
