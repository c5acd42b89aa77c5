"""What nobody expects to go wrong on the way to Postgres: no caller waits for ever, and the log goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.sessions import FEW_SECONDS, contents
from turnlog import AppendRefusedError, Session, SessionLog
from turnlog.infrastructure.store.wire import Wire


class OddOnce:
    """A connection of libpq, of which one call raises what it never should, once."""

    def __init__(self, libpq: Any, name: str) -> None:
        self._libpq, self._name = libpq, name

    def __getattr__(self, name: str) -> Any:
        if name == self._name:
            self._name = ""
            return odd
        return getattr(self._libpq, name)


def odd(*_: Any) -> Any:
    raise RuntimeError("odd")


@asynccontextmanager
async def soon() -> AsyncIterator[None]:
    async with asyncio.timeout(FEW_SECONDS):
        yield


def wires(log: SessionLog) -> list[Wire]:
    """Those of appends and of standings."""
    standings = log._parts.store.standings._wire
    assert standings is not None
    return [log._parts.group_commit._wire, standings]


async def three(log: SessionLog) -> list[Session]:
    sessions = [await log.start_session("u1") for _ in range(3)]
    for session in sessions:
        await session.say("first")
        await session.view()
    return sessions


async def texts(session: Session) -> list[str]:
    return contents((await session.view()).messages)


async def test_what_cannot_be_sent_is_refused_and_the_next_append_is_stored(
    log: SessionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = await three(log)
    with monkeypatch.context() as patched:
        for wire in wires(log):
            patched.setattr(wire, "send", odd)
        async with soon():
            said = (session.say("lost") for session in sessions)
            outcomes = await asyncio.gather(*said, return_exceptions=True)
            assert [await texts(session) for session in sessions] == [["first"]] * 3
    assert [type(outcome) for outcome in outcomes] == [AppendRefusedError] * 3
    async with soon():
        await asyncio.gather(*(session.say("second") for session in sessions))
        assert [await texts(session) for session in sessions] == [["first", "second"]] * 3


@pytest.mark.parametrize("call", ["send_query_prepared", "flush", "consume_input", "is_busy", "get_result"])
async def test_a_connection_with_a_fault_is_given_up_and_nothing_is_lost_or_doubled(log: SessionLog, call: str) -> None:
    sessions = await three(log)
    log._parts.group_commit._retry_seconds = 60.0  # nobody waits until time is up
    for wire in wires(log):
        wire.patience = 60.0
        wire._libpq = OddOnce(wire._libpq, call)  # type: ignore[assignment]
    async with soon():
        await asyncio.gather(*(session.say("second") for session in sessions))
        assert [await texts(session) for session in sessions] == [["first", "second"]] * 3
    assert [wire.number for wire in wires(log)] == [1, 1]


@pytest.mark.parametrize("told", ["settled", "on_stored"])
async def test_a_caller_who_cannot_be_told_holds_up_nobody_else(
    log: SessionLog, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    sessions = await three(log)
    with monkeypatch.context() as patched:
        patched.setattr(sessions[0]._aggregate if told == "settled" else log._parts.group_commit, told, odd)
        said = [asyncio.create_task(session.say("second")) for session in sessions]
        async with soon():
            await asyncio.gather(*said[1:])
            await asyncio.gather(*(session.say("third") for session in sessions[1:]))
        said[0].cancel()
    assert [await texts(session) for session in sessions[1:]] == [["first", "second", "third"]] * 2
