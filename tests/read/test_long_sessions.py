"""Sessions of thousands of turns: what is read of them, and what is kept, does not grow with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis import Redis

from benchmarks.long_log import question, write_long_session
from tests.support.database import rows
from tests.support.sessions import answer, folded_view, talked, turn
from tests.support.views import events_read, key, settled
from turnlog import InvalidInputError, Session, SessionLog, SessionView, Settings
from turnlog.infrastructure.read import view_ends, views
from turnlog.infrastructure.store import kept
from turnlog.projections.projector import Projector

TURNS, DELTAS = 1_000, 3
EVENTS = 1 + TURNS * (3 + DELTAS)
FEW = 100


@pytest.fixture
async def long_session(log: SessionLog, settings: Settings) -> UUID:
    """A session of which nothing is kept."""
    session_id = uuid4()
    url, schema = settings.database_url or "", settings.database_schema
    version = await asyncio.to_thread(write_long_session, url, session_id, "u1", TURNS, deltas=DELTAS, schema=schema)
    assert version == EVENTS
    return session_id


@pytest.fixture
async def fresh(log: SessionLog, settings: Settings) -> AsyncIterator[SessionLog]:
    """A process that has read nothing yet."""
    async with SessionLog.open(settings) as opened:
        yield opened


# What decisions rest on


async def test_who_opens_a_session_reads_few_events_where_nobody_has_read_its_view(
    log: SessionLog, session: Session, fresh: SessionLog
) -> None:
    for number in range(40):
        await session.say(f"question {number}")
        await answer(session, "one ", "two ", "three")
    await settled(log)
    with events_read(fresh) as read:
        await fresh.session(session.id, "u1").say("next")
    assert sum(read) < FEW < 40 * 6


async def test_what_was_read_to_decide_once_is_kept(
    log: SessionLog, long_session: UUID, fresh: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with events_read(log) as read:
        await log.session(long_session, "u1").say("next")
    assert sum(read) == EVENTS
    await settled(log)
    with events_read(fresh) as read:
        await fresh.session(long_session, "u1").say("and next")
    assert sum(read) < FEW


async def test_a_kept_state_decides_as_the_events_do(log: SessionLog, session: Session, settings: Settings) -> None:
    await session.set_metadata({"a": {"b": 1}})
    await session.increment("runs", "graph")
    await session.set_title("T")
    for number in range(30):
        await turn(session, number, calls=True)
    await settled(log)
    ((position, body),) = rows(settings, f"select position, body from turnlog_states where session_id = '{session.id}'")
    states = log._parts.views.states
    kept_state = await states.load(session.id)
    assert 64 <= position == kept_state.kept
    await log._parts.store.states.forget(session.id)
    await log._parts.store.kept.forget(session.id)
    folded = await states.load(session.id)
    assert (kept_state.version, kept_state.commit_id) == (folded.version, folded.commit_id)
    left_out = {"memory"}  # the store is asked for what it has forgotten
    assert kept_state.state.model_dump(exclude=left_out) == folded.state.model_dump(exclude=left_out)
    assert kept_state.state.counters == folded.state.counters  # type: ignore[union-attr]
    assert len(body) < 10_000


async def test_a_kept_state_of_a_past_that_is_gone_is_dropped(
    log: SessionLog, session: Session, settings: Settings, fresh: SessionLog
) -> None:
    await talked(session, 40)
    await settled(log)
    rows(
        settings,
        "update turnlog_states set body = replace(convert_from(body, 'UTF8'), 'commit_id\":', 'commit_id\":1')::bytea",
    )
    with events_read(fresh) as read:
        await fresh.session(session.id, "u1").say("next")
    assert sum(read) == 81


# The kept view


async def test_a_long_view_is_kept_in_pieces_and_goes_on_where_it_was_broken_off(
    log: SessionLog, long_session: UUID, fresh: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PIECE_TO_KEEP", 1_000)
    pages, save = list[int](), log._parts.store.kept._save_pages

    def saving(*args: Any) -> None:
        pages.append(len(args[2]))
        save(*args)

    monkeypatch.setattr(log._parts.store.kept, "_save_pages", saving)
    reading = asyncio.create_task(log.session(long_session, "u1").view())
    while len(pages) < 2:
        await asyncio.sleep(0.001)
    reading.cancel()
    await asyncio.wait([reading])

    with events_read(fresh) as read:
        view = await fresh.session(long_session, "u1").view()
    assert len(view.turns) == TURNS
    assert sum(read) <= EVENTS - 1_000
    assert max(pages) <= 5_000 / (3 + DELTAS) + 1
    await settled(fresh)
    with events_read(log) as read:
        assert await log.session(long_session, "u1").view() == view
    assert sum(read) < FEW


async def test_the_end_of_a_cold_session_is_read_without_holding_all_of_it(
    log: SessionLog, long_session: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PIECE_TO_KEEP", 1_000)
    end = await log._parts.views.load_end(long_session, 2)
    assert end.turn_count == TURNS
    assert TURNS - end.first_turn < 5_000 / (3 + DELTAS) + 4
    await settled(log)
    whole = await log._parts.views.load(long_session)
    assert end.turns() == whole.turns()[end.first_turn :]
    assert end.head().to_json() == whole.head().to_json()


async def test_kept_pages_are_read_in_pieces(
    log: SessionLog, long_session: UUID, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await log.session(long_session, "u1").view()
    await settled(log)
    redis.flushall()
    monkeypatch.setattr(kept, "STATEMENT_PAGES", 400)
    with events_read(log) as read:
        assert await log.session(long_session, "u1").view() == view
        for turns in (0, 1, 399, 400, 401, TURNS):
            assert (await log._parts.views.load_end(long_session, turns)).turns() == view.turns[-1 - turns :]
    assert sum(read) < FEW


async def test_pages_that_change_while_many_are_read_are_read_again(
    log: SessionLog, session: Session, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        await turn(session, number, calls=number == 0)
    await session.view()
    await settled(log)
    redis.flushall()
    monkeypatch.setattr(kept, "STATEMENT_PAGES", 3)
    store, fetch = log._parts.store, log._parts.store.kept._threads.fetch
    names = list[str]()

    async def fetching(name: str, *params: Any) -> Any:
        names.append(name)
        if names.count("load_pages") == 1 and name == "load_pages":
            await session.add_tool_result("c0", "late")
            await store.kept.save(await folded_projector(session))
        return await fetch(name, *params)

    monkeypatch.setattr(store.kept._threads, "fetch", fetching)
    view = await session.view()
    monkeypatch.undo()
    assert names.count("load_kept") == 2
    assert view == await folded_view(session)


async def folded_projector(session: Session) -> Projector:
    return Projector(session.id).apply_all([event async for event in session.events()])


# Redis


async def test_redis_holds_the_end_of_a_session_and_never_more(
    log: SessionLog, session: Session, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_ends, "VIEW_BYTES", 8_000)
    monkeypatch.setattr(view_ends, "LAST_BYTES", 3_000)
    sizes = list[int]()
    for number in range(60):
        await turn(session, number)
        assert len((await session.view()).turns) == number + 1
        await settled(log)
        sizes.append(redis.strlen(key(log, session)))
    assert 8_000 < max(sizes) < 12_000
    assert min(sizes[20:]) > 3_000
    whole = await folded_view(session)
    assert await session.view() == whole
    monkeypatch.setattr(log._parts.store.kept, "load", None)  # Postgres is asked for no page
    end = await log._parts.views.load_end(session.id, 3)
    assert end.turns() == whole.turns[end.first_turn :]


async def test_a_long_view_that_was_read_whole_leaves_its_end_in_redis(
    log: SessionLog, long_session: UUID, redis: Redis
) -> None:
    session = log.session(long_session, "u1")
    view = await session.view()
    await settled(log)
    size = redis.strlen(key(log, session))
    assert 0 < size < view_ends.VIEW_BYTES + 100_000
    assert await session.view() == view


async def test_of_a_cached_view_no_more_is_read_than_is_wanted(
    log: SessionLog, long_session: UUID, redis: Redis
) -> None:
    session = log.session(long_session, "u1")
    await session.view()
    await settled(log)
    await session.turns(limit=20)  # how large its turns are is seen then
    given = redis.info("stats")["total_net_output_bytes"]
    for _ in range(10):
        await session.turns(limit=20)
    given = redis.info("stats")["total_net_output_bytes"] - given
    page = sum(len(each.to_short_json()) for each in await session.turns(limit=22))
    assert given / 10 < 1.3 * page + 10_000


# Pages of turns


@pytest.fixture
async def storied(log: SessionLog, session: Session) -> SessionView:
    """Turns of which some were changed late, one is repaired, and the last one is open."""
    await session.add_message("system", "Be brief.")
    for number in range(25):
        await turn(session, number, calls=number % 5 == 0)
        if number in {6, 7, 15}:  # its turn is kept in several pages
            await many_steps(session)
        if number % 7 == 0:
            await session.view()
    await session.add_tool_result("c0", "late")
    await session.add_tool_result("c10", "late, too")
    await session.say("and now?")
    return await folded_view(session)


async def many_steps(session: Session) -> None:
    for number in range(9):
        async with session.completion() as completion:
            await completion.tool_call(f"s{number}", "find", "{}")
            await completion.finish("tool_calls")
        await session.add_tool_result(f"s{number}", "found " * 200)


@pytest.mark.parametrize("where", ["cached", "kept", "nowhere"])
async def test_pages_of_turns_are_parts_of_the_view(
    log: SessionLog, session: Session, storied: SessionView, redis: Redis, where: str
) -> None:
    if where != "nowhere":
        await session.view()
    await settled(log)
    if where != "cached":
        redis.flushall()
    turns = list(storied.turns)
    assert (await log._parts.views.load_end(session.id, 1)).closed_turns > len(turns)  # some have several pages
    assert await session.turns() == turns[-20:]
    for limit in (1, 2, 7):
        assert await session.turns(limit=limit) == turns[-limit:]
        for before in range(len(turns) + 3):
            assert await session.turns(before, limit) == turns[max(0, min(before, len(turns)) - limit) : before]
        await settled(log)


async def test_a_client_pages_back_from_the_end_to_the_beginning(log: SessionLog, long_session: UUID) -> None:
    session = log.session(long_session, "u1")
    await session.turns()
    await settled(log)
    seen, before = list[int](), None
    with events_read(log) as read:
        while page := await session.turns(before, limit=97):
            seen[:0] = [each.index for each in page]
            before = page[0].index
    assert seen == list(range(TURNS))
    assert sum(read) < FEW
    assert (await session.turns(8, 1))[0].messages[0].content == question(7)


async def test_a_page_of_turns_that_nobody_has_kept_yet_is_right(
    log: SessionLog, session: Session, storied: SessionView, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(*_: Any) -> None:
        return None

    monkeypatch.setattr(log._parts.store.kept, "pages", none)
    assert await session.turns(9, 4) == list(storied.turns[5:9])


async def test_what_is_no_page_is_refused(session: Session) -> None:
    for before, limit in ((-1, 1), ("1", 1), (True, 1), (1, 0), (1, 1_001), (1, None)):
        with pytest.raises(InvalidInputError, match=r"before|limit"):
            await session.turns(before, limit)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="limit"):
        session.live(limit=0)


async def test_a_live_page_has_the_last_turns_and_what_follows_them(log: SessionLog, long_session: UUID) -> None:
    session = log.session(long_session, "u1")
    await session.turns()
    await settled(log)
    with events_read(log) as read:
        async with session.live(limit=3) as live:
            assert [each.index for each in live.turns] == [TURNS - 3, TURNS - 2, TURNS - 1]
            assert live.version == EVENTS
            await session.say("next")
            assert (await anext(aiter(live))).position == EVENTS + 1
            with pytest.raises(RuntimeError, match="no view"):
                _ = live.view
    assert sum(read) < FEW


# The beginning, the past, and copies


async def test_following_a_long_session_from_its_beginning_answers_at_once(log: SessionLog, long_session: UUID) -> None:
    with events_read(log) as read:
        following = log.session(long_session, "u1").follow()
        first = await anext(following)
        await following.aclose()
    assert first.position == 1
    assert sum(read) <= 500


async def test_a_view_of_the_past_is_made_of_a_head_and_the_pages_of_then(
    log: SessionLog, long_session: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MARK_EVENTS", 1_000)
    monkeypatch.setattr(views, "PIECE_TO_KEEP", 1_000)
    session = log.session(long_session, "u1")
    view = await session.view()
    await settled(log)
    await session.say("later")
    with events_read(log) as read:
        assert await session.at(EVENTS) == view
        assert (await session.at(EVENTS + 1)).turns[-1].messages[0].content == "later"
    assert sum(read) < FEW
    middle = Projector(long_session).apply_all([event async for event in session.events()][: EVENTS - 1_000]).view()
    with events_read(log) as read:
        assert await session.at(EVENTS - 1_000) == middle
    assert sum(read) <= 5_000 < middle.version + 1_000
    assert len((await session.at(1 + 6 * 3)).turns) == 3


async def test_views_of_the_past_are_right_where_pages_have_changed_since(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MARK_EVENTS", 8)
    for number in range(12):
        await turn(session, number, calls=number in {1, 7})
        await session.view()
        await settled(log)
        if number in {4, 9}:
            await session.add_tool_result("c1" if number == 4 else "c7", "late")
    events = [event async for event in session.events()]
    for position in range(1, len(events) + 1):
        assert await session.at(position) == Projector(session.id).apply_all(events[:position]).view()


async def test_a_fork_of_a_long_session_is_the_same_and_says_how_far_it_is(
    log: SessionLog, long_session: UUID, settings: Settings
) -> None:
    told = list[tuple[int, int]]()
    session = log.session(long_session, "u1")
    fork = await session.fork(progress=lambda *args: told.append(args))
    assert told[-1] == (EVENTS, EVENTS)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    with events_read(log) as read:
        assert not (await fork.say("again", message_id="m-7")).is_new
        await fork.say("next")
    assert sum(read) < FEW
    bodies = "select md5(string_agg(topic::bytea || state, '' order by originator_version))"
    of = f"from turnlog_events where originator_version <= {EVENTS} and originator_id = "
    assert rows(settings, f"{bodies} {of} '{fork.id}'") == rows(settings, f"{bodies} {of} '{long_session}'")
