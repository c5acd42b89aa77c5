"""Forks and views of the past."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from tests.support.answering import asking, calling
from tests.support.foreign_messages import FAULTY
from tests.support.rules import check_prompts_of
from tests.support.sessions import contents, talked
from turnlog import (
    SYSTEM,
    InvalidInputError,
    Session,
    SessionLog,
    SessionNotFoundError,
    StoreUnavailableError,
    Tool,
    ToolContext,
)
from turnlog.domain.events import SessionForked
from turnlog.infrastructure.repair import forking
from turnlog.infrastructure.store import events
from turnlog.projections.view import Turn
from turnlog.testing import Answer


def _as_abandoned(turn: Turn) -> Turn:
    """The turn as it is once nobody writes its open step."""
    end = {"status": "abandoned", "note": None, "ended_at": None}
    steps = tuple(step.model_copy(update=end) if step.status in ("open", "abandoned") else step for step in turn.steps)
    return turn.model_copy(update={"steps": steps, "position": 0})


async def test_a_fork_has_the_view_of_its_position_and_goes_its_own_way(session: Session) -> None:
    await session.say("hi")
    async with session.completion() as completion:
        await completion.text("Hel")
        await completion.text("lo")
    for version in range(1, (await session.view()).version + 1):
        fork, then = await session.fork(version), await session.at(version)
        assert [_as_abandoned(turn) for turn in (await fork.view()).turns] == [
            _as_abandoned(turn) for turn in then.turns
        ]
        assert all(step.status != "open" for turn in (await fork.view()).turns for step in turn.steps)
        await check_prompts_of(fork)
        await fork.say("go on")
        await check_prompts_of(fork)
    with pytest.raises(InvalidInputError, match="version"):
        await session.fork(99)
    with pytest.raises(InvalidInputError, match="version"):
        await session.at(0)


async def test_a_fork_in_the_middle_of_a_step_is_legal_and_goes_on_by_itself(session: Session) -> None:
    await session.say("hi")
    async with session.completion() as completion:
        await completion.text("Let me")
        await completion.tool_call_delta(0, id="c1", name="find", arguments='{"q": ')
        fork = await session.fork()
        await completion.tool_call_delta(0, arguments='"x"}')
        await completion.finish("tool_calls")
    await check_prompts_of(fork)
    await fork.say("go on")
    assert contents(await fork.prompt()) == ["hi", "Let me", "go on"]
    async with fork.completion() as completion:
        await completion.text("Yes.")
    await check_prompts_of(fork)
    assert (await session.view()).turns[0].steps[0].status == "finished"


async def test_nobody_goes_on_with_a_fork_unasked_and_its_tools_do_not_run(log: SessionLog, session: Session) -> None:
    """Whatever its source is about to do: the source does it."""
    done = list[str]()

    def buy(context: ToolContext) -> str:
        """Buys something."""
        done.append(str(context.session.id))
        return "bought"

    tools, forks = [Tool(buy, needs_approval=True)], list[Session]()
    async with asking([calling("buy"), Answer("Later."), Answer("Bought."), Answer("Go.")]) as model:
        await model.answer(session, "shoes", "m-1", tools=tools)
        await model.answer(session, "or a hat?", "m-2", tools=tools)
        (call,) = (await session.view()).waiting_tool_calls
        await session.approve(call.id, by="anna", step_id=call.step_id)
        forks.append(await session.fork())
        async with session.turn():
            await session.say("and then?", "m-3", on_busy="queue")
            forks.append(await session.fork())
        forks.append(await session.fork())
        assert [turn.status for turn in (await forks[1].view()).turns] == ["finished", "failed", "stopped"]

        outcomes = await log.resume(lambda one: model.answer(one, tools=tools))
        assert [outcome.session_id for outcome in outcomes] == [session.id]
        assert (done, model.asked) == ([str(session.id)], 3)
        for fork in forks:
            await check_prompts_of(fork)
        assert (await model.answer(forks[1], "go on", tools=tools)).text == "Go."
        assert [turn.status for turn in (await forks[1].view()).turns][1:] == ["failed", "stopped", "finished"]


async def test_a_long_fork_is_copied_in_parts_and_is_the_same(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    await talked(session, 10)
    view = await session.view()
    monkeypatch.setattr(forking, "FORK_PAGE_EVENTS", 4)
    monkeypatch.setattr(events, "PAGE_EVENTS", 4)
    for version in (1, 3, 4, 5, 8, view.version):
        fork = await session.fork(version)
        assert (await fork.view()).turns == (await session.at(version)).turns
        assert (await fork.view()).user_id == "u1"
        assert [event.topic async for event in fork.events(after=version)] == ["session-forked.v1"]


async def test_a_position_that_is_not_there_is_named_in_the_error(session: Session) -> None:
    await session.say("hi")
    for version in (0, -1, 3, True, "2", 2.0):
        with pytest.raises(InvalidInputError, match=r"^version: .* is not a whole number from 1 to 2$"):
            await session.at(version)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match=r"^version: .* is not a whole number from 1 to 2$"):
            await session.fork(version)  # type: ignore[arg-type]


async def test_the_past_of_a_session_of_somebody_else_is_not_there(log: SessionLog, session: Session) -> None:
    other = log.session(session.id, "u2")
    for attempt in (other.at(1), other.fork(), other.compact("x", 1), log.repair(session.id, "u2")):
        with pytest.raises(SessionNotFoundError):
            await attempt
    with pytest.raises(SessionNotFoundError):
        await log.undo_repair(session.id, "u2")


async def test_the_fork_of_a_repaired_session_is_repaired_and_can_be_undone_by_itself(log: SessionLog) -> None:
    session = await log.import_session(FAULTY["unanswered_call"], "u1")
    report = await log.repair(session.id, "u1")
    fork = await session.fork()
    assert await fork.prompt() == await session.prompt()
    assert await log.undo_repair(fork.id, "u1", report.repair_id)
    assert (await fork.view()).faults != ()
    assert (await session.view()).faults == ()


async def test_nobody_sees_a_part_of_a_fork(log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "FORK_PAGE_EVENTS", 1)
    await asyncio.gather(*(session.say(f"{number}") for number in range(200)))
    forked, seen = asyncio.create_task(session.fork()), set[int]()
    while not forked.done():
        seen |= {item.version for item in (await log.list_sessions(SYSTEM)).items}
    # The source; and the fork once it is whole, with the event that says so.
    assert seen <= {201, 202}
    assert (await (await forked).view()).messages == (await session.view()).messages


@pytest.mark.parametrize("pages", [0, 1, 100])
async def test_a_fork_that_ends_half_way_is_not_there(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    monkeypatch.setattr(forking, "FORK_PAGE_EVENTS", 1)
    await asyncio.gather(*(session.say(f"{number}") for number in range(200)))
    read, copied = log._parts.store.events.copied, 0

    async def lost(*args: Any, **options: Any) -> Any:
        nonlocal copied
        async for page in read(*args, **options):
            if copied == pages:
                raise StoreUnavailableError("gone")
            copied += 1
            yield page

    monkeypatch.setattr(log._parts.store.events, "copied", lost)
    with pytest.raises(StoreUnavailableError):
        await session.fork()
    monkeypatch.undo()

    assert copied == pages
    with psycopg.connect(log.settings.database_url or "", autocommit=True) as connection:
        schema = log.settings.database_schema
        rows = connection.execute(f"select distinct originator_id from {schema}.turnlog_events".encode()).fetchall()
        assert rows == [(session.id,)]
        # What the log does in the background holds one for a moment; one that was left would stay.
        async with asyncio.timeout(10):
            while connection.execute("select from pg_locks where locktype = 'advisory'").fetchone() is not None:
                await asyncio.sleep(0.01)


async def test_a_fork_from_before_a_session_had_an_owner_has_its_owner(log: SessionLog) -> None:
    session = await log.start_session(None)
    await session.say("hi")
    await log.assign_owner(session.id, "u1")
    for version in (2, 3):
        fork = await log.session(session.id, "u1").fork(version)
        assert (await fork.view()).user_id == "u1"


async def test_a_fork_names_as_many_events_as_it_has_copied_while_more_are_written(session: Session) -> None:
    is_over = False

    async def write(text: Any) -> None:
        while not is_over:
            await text("x")

    async with session.completion() as answer:
        writing = [asyncio.create_task(write(answer.text)) for _ in range(20)]
        for _ in range(10):
            await asyncio.sleep(0.01)
            fork = await session.fork()
            events = [event.event async for event in fork.events()]
            copied, upto = next(
                (place, event.upto) for place, event in enumerate(events) if isinstance(event, SessionForked)
            )
            assert copied == upto
        is_over = True
        await asyncio.gather(*writing)
    assert (await session.view()).user_id == "u1"


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_fork_whose_commit_is_not_answered_is_whole_or_says_what_postgres_said(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    await session.say("hi")
    execute = Connection.execute

    def unanswered(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        done = execute(self, query, *args, **options)
        if query == "commit":
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return done

    fetch = log._parts.store.recorder.fetch

    def away(name: str, *args: Any) -> Any:
        if name == "stored_at":
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return fetch(name, *args)

    monkeypatch.setattr(Connection, "execute", unanswered)
    if is_stored:
        assert (await (await session.fork()).view()).messages == (await session.view()).messages
        return
    # Nor does anybody say whether it was stored.
    monkeypatch.setattr(log._parts.store.recorder, "fetch", away)
    with pytest.raises(StoreUnavailableError):
        await session.fork()
