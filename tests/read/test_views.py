"""Cached, kept and folded views are one and the same, and reading the end of a session needs no more than that."""

from __future__ import annotations

import asyncio

import psycopg
from redis import Redis

from tests.support.sessions import folded_view, turn
from tests.support.views import events_read, key, longer_turn, settled
from turnlog import Session, SessionLog, Settings


async def test_a_cached_a_kept_and_a_folded_view_are_one(log: SessionLog, talk: Session, redis: Redis) -> None:
    whole = await folded_view(talk)
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
    assert view == await folded_view(talk)
    result = view.turns[0].steps[0].result_of(0)
    assert result is not None
    assert result.content == "late"


async def test_what_is_sent_to_redis_for_a_turn_does_not_grow_with_the_session(
    log: SessionLog, session: Session, redis: Redis
) -> None:
    sent = []
    for number in range(90):
        before = redis.info("stats")["total_net_input_bytes"]
        await longer_turn(session, 100 + number)
        await session.add_tool_result(f"c{100 + number}", "found")  # what still waits for a result stays in the head
        await session.prompt()
        await settled(log)
        sent.append(redis.info("stats")["total_net_input_bytes"] - before)

    assert max(sent[40:]) < 1.1 * max(sent[5:10])
    assert redis.strlen(key(log, session)) > 5 * max(sent)


async def test_the_end_of_a_session_is_read_without_the_turns_before_it(log: SessionLog, session: Session) -> None:
    for number in range(30):
        await longer_turn(session, number)
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


async def test_a_corrupt_page_in_postgres_is_folded_anew(
    log: SessionLog, talk: Session, redis: Redis, settings: Settings
) -> None:
    await settled(log)
    redis.delete(key(log, talk))
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        admin.execute(f"update {settings.database_schema}.turnlog_pages set body = 'x'")

    assert await talk.view() == await folded_view(talk)
    await settled(log)


async def test_a_command_in_a_long_session_reads_the_head_and_not_the_history(
    settings: Settings, talk: Session, log: SessionLog
) -> None:
    await settled(log)
    async with SessionLog.open(settings) as fresh:
        with events_read(fresh) as read:
            await fresh.session(talk.id, "u1").say("next")

    assert sum(read) < 20


# Late results


async def test_a_result_that_came_late_is_in_the_kept_view_too(log: SessionLog, session: Session, redis: Redis) -> None:
    background = log._parts.background
    for number in range(4):
        await turn(session, number, calls=number == 0)
    await session.view()
    await session.prompt()
    await background.close()
    await session.add_tool_result("c0", "late")
    await session.prompt()  # keeps the changed page in Redis only, for no turn was closed
    await background.close()
    await turn(session, 4)
    await session.prompt()  # reads the end alone, and keeps it in Postgres
    await background.close()
    redis.flushall()

    assert await session.view() == await folded_view(session)


async def test_pages_that_a_late_result_has_outdated_are_not_put_before_newer_ones(
    log: SessionLog, session: Session, redis: Redis
) -> None:
    views, key = log._parts.views, log._parts.views.key(session.id)
    for number in range(6):
        await turn(session, number, calls=number == 0)
    await session.view()
    await log._parts.background.close()
    outdated = redis.get(key)
    await session.add_tool_result("c0", "late")
    await turn(session, 6)
    await session.view()
    await log._parts.background.close()
    end = await views.load_end(session.id, 2)
    assert isinstance(outdated, bytes)
    redis.set(key, outdated)  # as where Redis was away meanwhile, and the end came from Postgres

    assert (await views.widen(end, 100)).turns() == (await folded_view(session)).turns


async def test_newer_pages_are_not_put_before_an_older_end(log: SessionLog, session: Session) -> None:
    views = log._parts.views
    for number in range(6):
        await turn(session, number, calls=number == 0)
    await session.view()
    await log._parts.background.close()
    end = await views.load_end(session.id, 2)
    await session.add_tool_result("c0", "late")
    await turn(session, 6)
    await session.view()
    await log._parts.background.close()

    assert (await views.widen(end, 100)).turns() == (await folded_view(session)).turns


# Callers that are cancelled


async def test_a_cancellation_that_comes_together_with_an_answer_of_redis_is_not_lost(session: Session) -> None:
    async def handler() -> None:
        await session.view()
        await asyncio.sleep(3600)

    await session.say("hello")
    await session.view()
    for turns_of_the_loop in range(40):
        task = asyncio.create_task(handler())
        for _ in range(turns_of_the_loop):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=2)
        assert done, f"it goes on when it is cancelled {turns_of_the_loop} turns of the loop after it began"
