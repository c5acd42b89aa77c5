"""Redis goes down, freezes and comes back: answers stay right, and only that is logged."""

from __future__ import annotations

import asyncio
import logging

import pytest
from redis import Redis

from tests.support.killable_servers import KillableServers
from tests.support.sessions import FEW_SECONDS, answer, checked_prompt, wait_until_cached
from turnlog import SessionLog
from turnlog.infrastructure import redis_calls


def warnings_of(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(1 for record in caplog.records if record.levelno >= logging.WARNING and text in record.getMessage())


async def test_redis_goes_down_and_comes_back_and_only_that_is_logged(
    killable: KillableServers,
    fragile_log: SessionLog,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_calls, "PROBE_SECONDS", 0.02)
    session = await fragile_log.start_session("u1")
    await session.view()
    killable.kill_redis()
    for number in range(10):
        await session.say(f"question {number}")
        await answer(session, f"answer {number}")
        assert len((await session.view()).messages) == 2 * (number + 1)
        await checked_prompt(session)
        await asyncio.sleep(0.03)
    assert (await fragile_log.list_sessions("u1", limit=1)).items[0].session_id == session.id
    assert warnings_of(caplog, "Redis") == 1
    killable.start_again()
    await asyncio.sleep(0.05)
    for _ in range(3):
        assert len((await session.view()).messages) == 20
    assert warnings_of(caplog, "Redis is back") == 1
    assert warnings_of(caplog, "") == 2


async def test_the_cache_fills_again_after_an_outage(
    killable: KillableServers, fragile_log: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_calls, "PROBE_SECONDS", 0.02)
    session = await fragile_log.start_session("u1")
    killable.kill_redis()
    await session.say("Hello")
    await session.view()
    killable.start_again()
    await asyncio.sleep(0.05)
    await session.view()
    await session.view()
    assert killable.servers.redis_url is not None
    with Redis.from_url(killable.servers.redis_url) as client:
        await wait_until_cached(client, session)


async def test_a_redis_that_does_not_answer_only_costs_its_timeout(
    killable: KillableServers, fragile_log: SessionLog, caplog: pytest.LogCaptureFixture
) -> None:
    session = await fragile_log.start_session("u1")
    await session.view()
    with killable.frozen_redis():
        async with asyncio.timeout(FEW_SECONDS):
            for number in range(20):
                await session.say(f"question {number}")
                await session.view()
    assert warnings_of(caplog, "Redis") == 1
