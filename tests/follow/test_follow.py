"""Following: every event once and in order, from any position and any process."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.support import programs
from tests.support.followers import followed, some, to_the_end
from tests.support.processes import Child
from tests.support.recording import SOON, played, record_texts
from tests.support.sessions import stored_events, turn
from turnlog import Session, SessionLog, SessionNotFoundError, Settings
from turnlog.infrastructure.follow import poll_loop
from turnlog.infrastructure.testing.corpus import own_corpus
from turnlog.projections.projector import Projector


@contextmanager
def statements(log: SessionLog) -> Iterator[Counter[str]]:
    """Counts what this log asks Postgres, by the statement's name."""
    recorder = log._parts.store.recorder
    counted, fetch = Counter[str](), recorder.fetch

    def counting(name: str, *params: Any) -> Any:
        counted[name] += 1
        return fetch(name, *params)

    recorder.fetch = counting  # type: ignore[method-assign]
    yield counted
    recorder.fetch = fetch  # type: ignore[method-assign]


# From any position


async def test_from_every_position_what_is_followed_is_the_rest(session: Session, other_log: SessionLog) -> None:
    await session.say("Hello")
    for stream in [stream for stream in own_corpus() if stream.name in ("demo-two-calls", "long-text")]:
        async for _ in session.record(played(*stream.parsed())):
            pass
    await record_texts(session, "That is all.")
    events = await stored_events(session)
    whole = Projector(session.id).apply_all(events).view()
    theirs = other_log.session(session.id, "u1")
    for cut in range(len(events) + 1):
        rest = await to_the_end(theirs, after=cut)
        assert rest == events[cut:]
        assert Projector(session.id).apply_all(events[:cut]).apply_all(rest).view() == whole


async def test_followers_that_come_at_any_moment_see_every_event_once(session: Session, other_log: SessionLog) -> None:
    await session.say("Count.")
    theirs = other_log.session(session.id, "u1")

    async def come_late(moment: float) -> tuple[int, list[int]]:
        await asyncio.sleep(moment)
        after = min(int(moment * 100), (await theirs.view()).version)
        return after, [event.position for event in await to_the_end(theirs, after=after)]

    moments = [random.Random(number).random() * 0.4 for number in range(60)]
    writing = asyncio.create_task(record_texts(session, *(f"{n} " for n in range(150)), pause=0.003))
    seen = await asyncio.gather(*map(come_late, moments))
    await writing
    last = (await session.view()).version
    assert [positions == list(range(after + 1, last + 1)) for after, positions in seen] == [True] * len(moments)


# From any process


@pytest.mark.parametrize("redis_url", ["redis", "none"])
async def test_a_process_follows_what_another_one_records(settings: Settings, session: Session, redis_url: str) -> None:
    places = settings if redis_url == "redis" else settings.model_copy(update={"redis_url": "none"})
    await session.say("Count.")
    with (
        Child(programs.follow, places, session.id, 1000) as follower,
        Child(programs.record, places, session.id, 0.005, 100) as recorder,
    ):
        async with asyncio.timeout(3 * SOON):
            await recorder.until("ended")
            assert await follower.hear() == "following"
            seen = await follower.hear()
    last = (await session.view()).version
    assert seen == [list(range(1, last + 1))] * 1000


async def test_a_thousand_followers_cost_one_reader(session: Session, other_log: SessionLog) -> None:
    await session.say("Count.")
    theirs = other_log.session(session.id, "u1")
    with statements(other_log) as counted:
        tasks = [asyncio.create_task(to_the_end(theirs)) for _ in range(1000)]
        await followed(other_log, 1000)
        joining = counted.copy()
        counted.clear()
        await record_texts(session, *(f"{n} " for n in range(100)), pause=0.003)
        seen = await asyncio.gather(*tasks)
    events = await stored_events(session)
    assert all(one == events for one in seen)
    assert joining.total() < 30, joining
    assert set(counted) <= {"read_sessions", "read_session"}
    # At most one a notice, and the looks at the clock. What they read was read once.
    assert counted["read_sessions"] < 130, counted
    assert counted["read_session"] <= 2, counted


async def test_a_follower_hears_at_once_of_its_own_process_without_any_server(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"redis_url": "none"})) as log:
        session = await log.start_session("u1")
        following = session.follow()
        await some(following, 1)
        loop = asyncio.get_running_loop()
        waits = []
        for number in range(30):
            task = asyncio.create_task(some(following, 1))
            await session.say(str(number))
            began = loop.time()
            await task
            waits.append(loop.time() - began)
    assert sorted(waits)[15] < poll_loop.FIRST_PAUSE / 2


# Who may, and how it ends


async def test_a_strangers_session_cannot_be_followed(session: Session, log: SessionLog) -> None:
    for stranger in (log.session(session.id, "u2"), log.session(uuid4(), "u1")):
        with pytest.raises(SessionNotFoundError):
            await anext(stranger.follow())
    assert log._parts.watcher._sources == {}


async def test_followers_of_a_deleted_session_are_told_and_end(session: Session, other_log: SessionLog) -> None:
    theirs = other_log.session(session.id, "u1").follow()
    seen = await some(theirs, 1)
    await session._parts.watcher.source(session.id, watched=True)
    assert await other_log.delete_session(session.id, "u1")
    async with asyncio.timeout(SOON):
        seen += [event async for event in theirs]
    assert [event.topic for event in seen] == ["session-started.v1", "session-deleted.v1"]
    with pytest.raises(SessionNotFoundError):
        await anext(other_log.session(session.id, "u1").follow())


async def test_a_turn_ends_when_the_model_has_no_more_to_say(session: Session) -> None:
    await session.say("A report, please.")
    task = asyncio.create_task(to_the_end(session))
    async with session.completion() as completion:
        await completion.tool_call("c1", "report", "{}")
        await completion.finish("tool_calls")
    await session.add_tool_result("c1", "started", status="pending")
    await session.add_tool_result("c1", "done")
    await asyncio.sleep(0.2)
    assert not task.done()
    await record_texts(session, "There it is.")
    events = await task
    assert events == await stored_events(session)
    assert await to_the_end(session, after=events[-1].position) == []
    await session.set_title("A report")
    assert [event.topic for event in await to_the_end(session, after=events[-1].position)] == ["session-titled.v1"]
    await session.say("Thanks.")
    task = asyncio.create_task(to_the_end(session))
    await asyncio.sleep(0.1)
    assert not task.done()
    await record_texts(session, "My pleasure.")
    assert await task == await stored_events(session)


async def test_an_end_that_only_another_follower_saw_does_not_end_a_later_one(session: Session) -> None:
    watching = session.follow()
    await anext(watching)
    await turn(session, 0)
    await session.say("and?")
    while (await anext(watching)).position < 6:
        pass
    later = session.follow(2, until_turn_ends=True)
    assert [(await asyncio.wait_for(anext(later), 5)).position for _ in range(4)] == [3, 4, 5, 6]


# Followers who wait for the end of the turn, beside those who do not


@pytest.mark.parametrize("after", [0, 1, 7, 30])
async def test_who_waits_for_the_end_may_join_at_any_moment_one_who_does_not(
    session: Session, other_log: SessionLog, after: int
) -> None:
    theirs = other_log.session(session.id, "u1")
    await session.say("hello")
    plain = theirs.follow()
    seen = await some(plain, 1)

    async def drain() -> None:
        seen.extend([event async for event in plain])

    async def to_the_end() -> list[int]:
        return [event.position async for event in theirs.follow(until_turn_ends=True)]

    draining, joined = asyncio.create_task(drain()), list[asyncio.Task[list[int]]]()
    async with session.completion() as completion:
        for number in range(40):
            if number in {after, after + 1}:
                joined.append(asyncio.create_task(to_the_end()))
            await completion.text("word ")
        await completion.finish()
    async with asyncio.timeout(SOON):
        positions = await asyncio.gather(*joined)
    version = (await session.view()).version
    assert positions == [list(range(1, version + 1))] * 2
    assert not draining.done()
    await plain.aclose()
    await draining
