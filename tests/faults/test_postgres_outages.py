"""Postgres goes down, freezes and comes back: an error in time, nothing unstored is seen, and a retry stores once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import Redis

from tests.support.killable_servers import KillableServers
from tests.support.recording import spoken, text_of
from tests.support.sessions import FEW_SECONDS, answer, checked_prompt, positions, wait_until_cached
from turnlog import Session, SessionLog
from turnlog.domain.errors import StoreUnavailableError


async def cached_bytes(killable: KillableServers, session: Session) -> bytes:
    """All that Redis holds of the session, once it holds something."""
    assert killable.servers.redis_url is not None
    with Redis.from_url(killable.servers.redis_url) as client:
        entry: Any = client.get(await wait_until_cached(client, session))
    return bytes(entry)


async def test_postgres_down_is_an_error_in_time_and_nothing_unstored_is_seen(
    killable: KillableServers, fragile_log: SessionLog
) -> None:
    session = await fragile_log.start_session("u1")
    await session.say("before", message_id="m-1")
    await session.view()
    killable.kill_postgres()
    async with asyncio.timeout(FEW_SECONDS):
        with pytest.raises(StoreUnavailableError):
            await session.say("during", message_id="m-2")
    async with asyncio.timeout(FEW_SECONDS):
        with pytest.raises(StoreUnavailableError):
            await session.view()
    assert b"during" not in await cached_bytes(killable, session)
    await asyncio.to_thread(killable.start_again)
    async with SessionLog.open(killable.settings) as reader:
        for seen in (reader.session(session.id, "u1"), session):
            assert [message["content"] for message in (await seen.view()).messages] == ["before"]


async def test_the_same_log_works_again_and_a_retry_stores_once(
    killable: KillableServers, fragile_log: SessionLog
) -> None:
    session = await fragile_log.start_session("u1")
    killable.kill_postgres()
    with pytest.raises(StoreUnavailableError):
        await session.say("during", message_id="m-2")
    await asyncio.to_thread(killable.start_again)
    for _ in range(2):
        assert await session.say("during", message_id="m-2") == "m-2"
    await answer(session, "Here again.")
    assert [message["content"] for message in (await session.view()).messages] == ["during", "Here again."]
    assert await positions(session) == [1, 2, 3, 4, 5]


async def test_a_short_outage_is_waited_out(killable: KillableServers, fragile_log: SessionLog) -> None:
    session = await fragile_log.start_session("u1")
    patient = killable.settings.model_copy(update={"store_timeout_seconds": 20})
    async with SessionLog.open(patient) as log:
        waiting = log.session(session.id, "u1")
        await waiting.view()
        killable.kill_postgres()
        saying = asyncio.create_task(waiting.say("through the outage"))
        await asyncio.to_thread(killable.start_again)
        await saying
        assert [message["content"] for message in (await waiting.view()).messages] == ["through the outage"]


async def test_retries_during_an_outage_all_get_an_answer_and_store_once(
    killable: KillableServers, fragile_log: SessionLog
) -> None:
    session = await fragile_log.start_session("u1")
    killable.kill_postgres()
    async with asyncio.timeout(FEW_SECONDS):
        outcomes = await asyncio.gather(
            *(session.say("once", message_id="m-1") for _ in range(3)), return_exceptions=True
        )
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
    await asyncio.to_thread(killable.start_again)
    await session.say("once", message_id="m-1")
    assert [message["content"] for message in (await session.view()).messages] == ["once"]


async def test_a_delta_that_was_not_stored_is_not_shown(killable: KillableServers, fragile_log: SessionLog) -> None:
    session = await fragile_log.start_session("u1")
    stream = session.record(spoken("one ", "two ", "three "))
    for text in ("one ", "two "):
        assert text_of(await anext(stream)) == text
    killable.kill_postgres()
    with pytest.raises(StoreUnavailableError):
        await anext(stream)
    await asyncio.to_thread(killable.start_again)
    assert (await session.view()).messages == [{"role": "assistant", "content": "one two "}]
    await answer(session, "Once more.")
    first, second = (await session.view()).turns[0].steps
    assert first.status in ("failed", "abandoned")  # whether its end was stored depends on when Postgres came back
    assert second.status == "finished"
    await checked_prompt(session)


async def test_a_postgres_that_does_not_answer_is_an_error_in_time_too(
    killable: KillableServers, fragile_log: SessionLog
) -> None:
    session = await fragile_log.start_session("u1")
    with killable.frozen_postgres():
        async with asyncio.timeout(FEW_SECONDS):
            with pytest.raises(StoreUnavailableError):
                await session.say("into the void", message_id="m-1")
        async with asyncio.timeout(FEW_SECONDS):
            with pytest.raises(StoreUnavailableError):
                await session.view()
    await session.say("into the void", message_id="m-1")
    assert [message["content"] for message in (await session.view()).messages] == ["into the void"]
