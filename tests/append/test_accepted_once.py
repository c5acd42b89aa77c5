"""An id is accepted once, however many ids there are, whoever brings it again, and whenever: Postgres keeps it so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from tests.support.sessions import answer, contents
from turnlog import Session, SessionLog, Settings
from turnlog.domain import state

Send = Callable[[Session], Awaitable[Any]]

KINDS: dict[str, tuple[Send, Callable[[Session, str], Awaitable[Any]]]] = {
    "message": (lambda s: s.say("PAY", message_id="X"), lambda s, id_: s.say("other", message_id=id_)),
    "increment": (
        lambda s: s.increment("runs", "PAY", id="X"),
        lambda s, id_: s.increment("runs", "other", id=id_),
    ),
    "usage": (
        lambda s: s.add_usage(prompt_tokens=100, id="X"),
        lambda s, id_: s.add_usage(completion_tokens=1, id=id_),
    ),
}
KIND = pytest.mark.parametrize("kind", KINDS)
LIMIT = 16
"""Ids that a state remembers here: hundreds cost time and show nothing else."""


@pytest.fixture(autouse=True)
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MEMORY_LIMIT", LIMIT)


async def accepted(session: Session) -> int:
    """How often what came under the id X is in the session."""
    view = await session.view()
    pays = contents(view.messages).count("PAY")
    return pays + view.counters.get("runs", {}).get("PAY", 0) + (view.usage.prompt_tokens or 0) // 100


async def fill(session: Session, kind: str, count: int) -> None:
    """So many other ids."""
    _, other = KINDS[kind]
    for first in range(0, count, 100):
        await asyncio.gather(*(other(session, f"i{n}") for n in range(first, min(count, first + 100))))


@KIND
@pytest.mark.parametrize("before", [0, LIMIT - 2, LIMIT - 1, LIMIT, 2 * LIMIT - 1])
async def test_two_at_once_with_others_between_are_one(session: Session, kind: str, before: int) -> None:
    send, other = KINDS[kind]
    await fill(session, kind, before)
    await asyncio.gather(send(session), other(session, "Y"), send(session), other(session, "Z"), send(session))
    assert await accepted(session) == 1


@KIND
async def test_an_older_handle_of_another_process_finds_what_was_accepted(
    session: Session, other_log: SessionLog, kind: str
) -> None:
    send, _ = KINDS[kind]
    theirs = other_log.session(session.id, "u1")
    await theirs.set_title("t")  # their state is loaded now, and knows of nothing that comes
    await send(session)
    await fill(session, kind, LIMIT + 1)
    await asyncio.gather(send(theirs), send(theirs))
    assert await accepted(session) == 1


@KIND
async def test_processes_that_bring_an_id_in_the_same_moment_store_it_once(
    session: Session, settings: Settings, kind: str
) -> None:
    send, _ = KINDS[kind]
    async with SessionLog.open(settings) as one, SessionLog.open(settings) as two, SessionLog.open(settings) as three:
        handles = [each.session(session.id, "u1") for each in (one, two, three)]
        await asyncio.gather(*(send(handle) for handle in handles for _ in range(4)))
    assert await accepted(session) == 1


async def test_a_retry_fails_alone_and_what_comes_with_it_is_stored(log: SessionLog, session: Session) -> None:
    send, _ = KINDS["message"]
    await send(session)
    await fill(session, "message", LIMIT + 1)
    others = [await log.start_session("u1") for _ in range(20)]
    async with session.completion() as completion:
        await asyncio.gather(
            send(session), *(other.say(f"{n}") for n, other in enumerate(others)), completion.text("Hel"),
            send(session), completion.text("lo"), session.say("after"), *(answer(other, "a", "b") for other in others),
        )  # fmt: skip
        await completion.finish("stop")

    assert await accepted(session) == 1
    texts = contents((await session.view()).messages)
    assert (texts.count("Hello"), texts.count("after")) == (1, 1)
    for number, other in enumerate(others):
        assert contents((await other.view()).messages) == [f"{number}", "ab"]


async def test_a_refused_id_leaves_no_error_in_the_log_of_postgres(log: SessionLog, session: Session) -> None:
    send, _ = KINDS["message"]
    await send(session)
    await fill(session, "message", LIMIT + 1)
    with psycopg.connect(log.settings.database_url or "", autocommit=True) as connection:
        rolled_back = "select xact_rollback from pg_stat_database where datname = current_database()"
        connection.execute("select pg_stat_force_next_flush()")
        before = connection.execute(rolled_back).fetchone()
        for _ in range(20):
            await send(log.session(session.id, "u1"))
        await asyncio.sleep(1.2)  # backends report now and then
        assert connection.execute(rolled_back).fetchone() == before


@pytest.mark.parametrize("status", ["final", "error"])
async def test_a_result_is_known_after_more_than_the_memory_holds(
    session: Session, other_log: SessionLog, status: Any
) -> None:
    calls = [f"c{number}" for number in range(LIMIT + 8)]
    async with session.completion() as completion:
        for call in calls:
            await completion.tool_call(call, "find", "{}")
        await completion.finish("tool_calls")
    theirs = other_log.session(session.id, "u1")
    await theirs.set_title("t")
    await session.add_tool_result("c0", "21 C", status)
    await asyncio.gather(*(session.add_tool_result(call, "ok") for call in calls[1:]))
    await asyncio.gather(*(one.add_tool_result("c0", "21 C", status) for one in (session, theirs, theirs)))
    assert [result.content for result in (await session.view()).turns[0].steps[0].tool_results].count("21 C") == 1
