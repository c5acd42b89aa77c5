"""Reading: cached, kept and folded views are one and the same, and a cache can do no harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from redis import Redis

from turnlog.domain.errors import SessionNotFoundError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.read.views import Origin
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings
from turnlog.projections.projector import Projector
from turnlog.projections.view import SessionView


@pytest.fixture
async def talk(log: SessionLog) -> Session:
    """A session of four turns, the last one answered, read once after each."""
    session = await log.start_session(user_id="u1")
    for number in range(4):
        await turn(session, number)
    return session


async def turn(session: Session, number: int) -> None:
    await session.say(f"question {number}")
    async with session.completion() as completion:
        for _ in range(10):
            await completion.text("word ")
        await completion.tool_call(f"c{number}", "find", "{}")
        await completion.finish("tool_calls")
    await session.add_tool_result(f"c{number}", "pending", status="pending")
    await session.view()


async def settled(log: SessionLog) -> None:
    """Waits for what was being kept."""
    await log._parts.background.close()


def key(log: SessionLog, session: Session) -> str:
    return log._parts.views.key(session.id)


async def cache(log: SessionLog, projector: Projector, origin: Origin) -> None:
    await log._parts.views._cache_view(projector, origin)


async def folded(session: Session) -> SessionView:
    return Projector(session.id).apply_all([event async for event in session.events()]).view()


@contextmanager
def events_read(log: SessionLog) -> Iterator[list[int]]:
    """Counts the events that the store hands out."""
    store, counts = log._parts.store, list[int]()
    read, fold = store.events._read, store.events._fold

    def reading(*args: Any) -> list[Any]:
        events = read(*args)
        counts.append(len(events))
        return events

    def folding(*args: Any) -> int:
        counts.append(fold(*args))
        return counts[-1]

    store.events._read, store.events._fold = reading, folding  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        store.events._read, store.events._fold = read, fold  # type: ignore[method-assign]


async def test_a_cached_a_kept_and_a_folded_view_are_one(log: SessionLog, talk: Session, redis: Redis) -> None:
    whole = await folded(talk)
    await settled(log)

    with events_read(log) as from_cache:
        assert await talk.view() == whole
    redis.delete(key(log, talk))
    with events_read(log) as from_kept:
        assert await talk.view() == whole
    await settled(log)
    redis.delete(key(log, talk))
    await log._parts.store.kept.forget(talk.id)
    assert await talk.view() == whole

    assert from_cache == []  # Postgres is only asked where the session stands
    assert sum(from_kept) < 20 < whole.version


async def test_a_late_result_changes_the_page_of_its_old_turn(log: SessionLog, talk: Session, redis: Redis) -> None:
    await settled(log)
    await talk.add_tool_result("c0", "late")
    await talk.view()
    await settled(log)

    with events_read(log) as read:
        view = await talk.view()

    assert read == []
    assert view == await folded(talk)
    result = view.turns[0].steps[0].result_of(0)
    assert result is not None
    assert result.content == "late"


async def test_what_is_sent_to_redis_for_a_turn_does_not_grow_with_the_session(
    log: SessionLog, session: Session, redis: Redis
) -> None:
    sent = []
    for number in range(90):
        before = redis.info("stats")["total_net_input_bytes"]
        await turn(session, 100 + number)
        await session.add_tool_result(f"c{100 + number}", "found")  # what still waits for a result stays in the head
        await session.prompt()
        await settled(log)
        sent.append(redis.info("stats")["total_net_input_bytes"] - before)

    assert max(sent[40:]) < 1.1 * max(sent[5:10])
    assert redis.strlen(key(log, session)) > 5 * max(sent)


async def test_the_end_of_a_session_is_read_without_the_turns_before_it(log: SessionLog, session: Session) -> None:
    for number in range(30):
        await turn(session, number)
    await settled(log)
    whole = await session.view()

    for turns in (0, 1, 5, 100):
        end = await log._parts.views.load_end(session.id, turns)
        assert end.turns() == whole.turns[end.first_turn :]
        assert end.first_turn == max(0, 29 - turns)
        with events_read(log) as read:
            wider = await log._parts.views.widen(end, 12)
        assert wider.turns() == whole.turns[wider.first_turn :]
        assert wider.first_turn <= 17
        assert read == []
        assert wider.head().to_json() == (await log._parts.views.load(session.id)).head().to_json()


async def test_entries_have_the_configured_prefix_and_live_as_long_as_configured(
    settings: Settings, redis: Redis
) -> None:
    configured = settings.model_copy(update={"cache_prefix": "mine:", "cache_ttl_seconds": 100})
    async with SessionLog.open(configured) as log:
        session = await log.start_session(user_id="u1")
        await session.say("hi")
        await session.view()
        await settled(log)

        assert key(log, session).startswith("mine:")
        assert 90 < redis.ttl(key(log, session)) <= 100


async def test_the_default_life_of_an_entry_is_twelve_hours(log: SessionLog, talk: Session, redis: Redis) -> None:
    await settled(log)
    assert 12 * 3600 - 60 < redis.ttl(key(log, talk)) <= 12 * 3600


async def test_an_older_view_is_never_laid_over_a_newer_one(log: SessionLog, talk: Session, redis: Redis) -> None:
    events = [event async for event in talk.events()]
    await settled(log)
    newer = redis.get(key(log, talk))
    older = Projector(talk.id).apply_all(events[:20])

    for origin in (Origin(), Origin(5, 0, True), Origin(older.version, 0, True)):
        await cache(log, older, origin)

    assert redis.get(key(log, talk)) == newer


async def test_new_lines_are_not_laid_behind_another_entry(log: SessionLog, talk: Session, redis: Redis) -> None:
    events = [event async for event in talk.events()]
    whole = Projector(talk.id).apply_all(events)
    redis.delete(key(log, talk))
    await cache(log, Projector(talk.id).apply_all(events[:20]), Origin())

    await cache(log, whole, Origin(35, 2, True))

    cached = await log._parts.views._cached(talk.id)
    assert cached is not None
    assert cached.view() == whole.view()


SPOIL = {
    "no header": lambda value: value[42:],
    "no last line": lambda value: value[: value.rindex(b"\n") + 1],
    "half of the last line": lambda value: value[:-10],
    "a line less": lambda value: value[:42] + value[value.index(b"\n", 42) + 1 :],
    "a broken line": lambda value: value.replace(b'{"index":0', b'{"index":', 1),
    "another order": lambda value: value.replace(b'{"index":0', b'{"index":1', 1),
    "another session": lambda value: value.replace(b'"session_id":"', b'"session_id":"0', 1),
}


@pytest.mark.parametrize("spoil", SPOIL)
async def test_a_corrupt_entry_is_replaced_by_what_the_log_says(
    log: SessionLog, talk: Session, redis: Redis, spoil: str
) -> None:
    await settled(log)
    intact: Any = redis.get(key(log, talk))
    assert SPOIL[spoil](intact) != intact
    redis.set(key(log, talk), SPOIL[spoil](intact))

    assert await talk.view() == await folded(talk)
    await settled(log)
    assert await talk.view() == await folded(talk)


async def test_a_value_of_the_wrong_type_does_no_harm(log: SessionLog, talk: Session, redis: Redis) -> None:
    await settled(log)
    redis.delete(key(log, talk))
    redis.hset(key(log, talk), "not", "a string")

    assert await talk.view() == await folded(talk)


async def test_an_entry_that_is_ahead_of_the_log_is_not_believed(log: SessionLog, talk: Session, redis: Redis) -> None:
    await settled(log)
    ahead = Projector(talk.id).apply_all([event async for event in talk.events()])
    last = [event async for event in talk.events()][-1]
    for extra in range(5):
        ahead.apply(last._replace(position=last.position + extra + 1))
    await cache(log, ahead, Origin())

    assert await talk.view() == await folded(talk)


async def test_a_corrupt_page_in_postgres_is_folded_anew(
    log: SessionLog, talk: Session, redis: Redis, settings: Settings
) -> None:
    await settled(log)
    redis.delete(key(log, talk))
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        admin.execute(f"update {settings.database_schema}.turnlog_pages set body = 'x'")

    assert await talk.view() == await folded(talk)
    await settled(log)


async def test_the_partial_of_an_open_step_is_visible_to_another_process(settings: Settings) -> None:
    async with SessionLog.open(settings) as log, SessionLog.open(settings) as other:
        session = await log.start_session(user_id="u1")
        await session.say("hi")
        async with session.completion() as completion:
            await completion.text("Hel")
            view = await other.session(session.id, "u1").view()
            await completion.text("lo")
            later = await other.session(session.id, "u1").view()
            await completion.finish()

    assert [view.turns[0].steps[0].message.content, later.turns[0].steps[0].message.content] == ["Hel", "Hello"]
    assert view.turns[0].status == "open"


async def test_a_command_in_a_long_session_reads_the_head_and_not_the_history(
    settings: Settings, talk: Session, log: SessionLog
) -> None:
    await settled(log)
    async with SessionLog.open(settings) as fresh:
        with events_read(fresh) as read:
            await fresh.session(talk.id, "u1").say("next")

    assert sum(read) < 20


async def test_events_come_in_order_from_any_position(talk: Session) -> None:
    everything = [event.position async for event in talk.events()]

    assert everything == list(range(1, everything[-1] + 1))
    assert [event.position async for event in talk.events(after=10)] == everything[10:]


async def test_a_session_of_more_events_than_one_query_takes_is_read_whole(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnlog.infrastructure.store.events.STATEMENT_EVENTS", 10)
    for number in range(35):
        await session.say(str(number))

    store = log._parts.store
    assert [event.position for event in await store.events.read(session.id)] == list(range(1, 37))
    assert [event.position for event in await store.events.read(session.id, after=5, limit=20)] == list(range(6, 26))
    assert [event.position for event in await store.events.read(session.id, upto=20)] == list(range(1, 21))


async def test_a_remembered_prompt_is_that_of_now_and_nobody_elses_to_change(
    settings: Settings, log: SessionLog, talk: Session
) -> None:
    prompt = await talk.prompt()
    expected = [dict(message) for message in prompt]
    prompt[0]["content"] = "changed"
    prompt.clear()
    assert await talk.prompt() == expected

    async with SessionLog.open(settings) as other:
        await other.session(talk.id, SYSTEM).say("from elsewhere")
        assert (await talk.prompt())[-1] == {"role": "user", "content": "from elsewhere"}
        await other.delete_session(talk.id, SYSTEM)
    with pytest.raises(SessionNotFoundError):
        await talk.prompt()


async def test_a_process_remembers_no_more_prompts_than_it_may(settings: Settings) -> None:
    async with SessionLog.open(settings.model_copy(update={"prompt_memory_bytes": 5_000})) as log:
        for number in range(20):
            session = await log.start_session(user_id="u1")
            await session.say(f"{number} " + "x" * 1_000)
            for _ in range(2):
                assert len(await session.prompt()) == 1
        remembered = log._parts.prompts._memory
        assert 3_000 < sum(len(entry.value) for entry in remembered._entries.values()) == remembered._bytes <= 5_000
        assert session.id in remembered._entries
