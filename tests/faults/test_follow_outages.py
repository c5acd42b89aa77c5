"""Servers go down under followers: they miss and double nothing, or are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support import programs
from tests.support.followers import followed, some, to_the_end
from tests.support.killable_servers import KillableServers
from tests.support.processes import Child
from tests.support.recording import SOON
from turnlog import Session, SessionLog, StoreUnavailableError


@pytest.mark.parametrize("server", ["redis", "postgres"])
async def test_followers_miss_and_double_nothing_when_a_server_was_killed(
    killable: KillableServers, server: str
) -> None:
    killable.start_again()
    places = killable.settings.model_copy(update={"store_timeout_seconds": 20})
    async with SessionLog.open(places) as log, asyncio.timeout(60):
        session = await log.start_session("u1")
        await session.say("Count.")
        tasks = [asyncio.create_task(to_the_end_whatever_comes(session)) for _ in range(100)]
        await followed(log, 100)
        with Child(programs.record, places, session.id, 0.01, 250) as recorder:
            for _ in range(60):
                await recorder.hear()
            killable.kill_redis() if server == "redis" else killable.kill_postgres()
            await asyncio.sleep(0.2)
            await asyncio.to_thread(killable.start_again)
            assert (await recorder.rest())[-1] == "ended"
        seen = await asyncio.gather(*tasks)
        last = (await session.view()).version
        assert all(one == list(range(1, last + 1)) for one in seen)
        text = (await session.view()).messages[-1]["content"]
        assert text == "".join(f"{number} " for number in range(250))
        # It is back by itself.
        following = asyncio.create_task(to_the_end(session, last))
        assert await following == []
        after = session.follow(last)
        task = asyncio.create_task(some(after, 1))
        await followed(log)
        await session.say("Thanks.")
        await task


async def to_the_end_whatever_comes(session: Session) -> list[int]:
    return [event.position async for event in session.follow(until_turn_ends=True)]


async def test_a_postgres_that_stays_away_is_a_typed_error_to_followers(
    killable: KillableServers,
) -> None:
    killable.start_again()
    async with SessionLog.open(killable.settings) as log:
        session = await log.start_session("u1")
        following = session.follow()
        await some(following, 1)
        killable.kill_postgres()
        async with asyncio.timeout(SOON):
            with pytest.raises(StoreUnavailableError):
                await anext(following)
        assert log._parts.watcher._sources == {}
        await asyncio.to_thread(killable.start_again)
        await session.say("hi")
        assert [event.position for event in await some(session.follow(after=1), 1)] == [2]


async def test_a_follower_that_comes_after_a_failure_follows(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: Any) -> Any:
        raise StoreUnavailableError("gone")

    idle, waiting = session.follow(), session.follow(1)
    await anext(idle)
    with monkeypatch.context() as patched:
        patched.setattr(log._parts.store.events, "read_after", lost)
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(anext(waiting), 5)
    await session.say("hi")
    assert (await asyncio.wait_for(anext(session.follow(1)), 5)).position == 2
