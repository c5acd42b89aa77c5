"""Lists of sessions by the status of their turns, unfinished turns, and calls that wait, over all sessions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL

from tests.support.database import rows
from tests.support.owners import Owner
from tests.support.sessions import answer, call_tools, folded_view
from tests.support.writers import BRIEF, begun
from turnlog import SYSTEM, InvalidInputError, Session, SessionLog, Settings
from turnlog.domain.commands import AbandonSteps, AddMessage, CancelSteps, DecideApproval
from turnlog.domain.turns import UNFINISHED
from turnlog.infrastructure.clock import now


async def listed(log: SessionLog, session: Session) -> tuple[str | None, str | None, int]:
    """What the lists say of a session: the status, the unfinished turn, and how many calls wait."""
    (line,) = [item for item in (await log.list_sessions(SYSTEM)).items if item.session_id == session.id]
    unfinished = [turn for turn in await log.unfinished_turns(SYSTEM) if turn.session_id == session.id]
    waiting = [call for call in await log.waiting_tool_calls(SYSTEM) if call.session_id == session.id]
    assert [turn.status for turn in unfinished] in ([], [line.turn_status])
    view = await folded_view(session)
    assert [call.model_dump(exclude={"session_id"}) for call in waiting] == [
        call.model_dump() for call in view.waiting_tool_calls
    ]
    if view.turns:
        assert line.turn_status == view.turns[-1].status
    return line.turn_status, unfinished[0].turn_id if unfinished else None, len(waiting)


async def test_a_list_follows_a_turn_from_the_question_to_the_last_word(log: SessionLog, session: Session) -> None:
    assert await listed(log, session) == (None, None, 0)
    await session.say("Hi", message_id="m-1")
    assert await listed(log, session) == ("open", None, 0)
    owner = await Owner.of(log, session)
    assert await listed(log, session) == ("answering", "m-1", 0)
    await owner.asks("c-1", "c-2")
    assert await listed(log, session) == ("running_tools", "m-1", 0)
    await owner.starts(0)
    await owner.needs_approval(1)
    assert await listed(log, session) == ("running_tools", "m-1", 1)
    await owner.gives("c-1", "started", "pending")
    assert await listed(log, session) == ("running_tools", "m-1", 2)
    await owner.ends("waiting")
    assert await listed(log, session) == ("waiting", "m-1", 2)
    await owner.does(DecideApproval(now(), "c-2", None, approved=False, by="anna", refusal="No."))
    assert await listed(log, session) == ("queued", "m-1", 1)
    await session.add_tool_result("c-1", "21 C")
    owner = await Owner.of(log, session, "m-1")
    await owner.begins()
    assert await listed(log, session) == ("answering", "m-1", 0)
    await owner.does(AddMessage(now(), "m-2", "user", "Next", queue=True))
    await owner.ends()
    assert (await log.list_sessions(SYSTEM)).items[0].turn_status == "queued"
    assert [turn.turn_id for turn in await log.unfinished_turns(SYSTEM)] == ["m-2"]
    owner = await Owner.of(log, session)
    await owner.does(CancelSteps(now(), "enough"))
    assert await listed(log, session) == ("stopped", None, 0)


async def test_a_result_instead_of_a_decision_leaves_nothing_to_be_decided(log: SessionLog, session: Session) -> None:
    await session.say("Hi")
    owner = await Owner.of(log, session)
    await owner.asks("c-1")
    await owner.needs_approval(0)
    await owner.ends("waiting")
    await session.add_tool_result("c-1", "done by hand")
    assert (await listed(log, session))[2] == 0
    assert (await session.view()).waiting_tool_calls == ()


async def test_sessions_without_an_owner_have_the_status_of_their_last_step_and_are_not_unfinished(
    log: SessionLog,
) -> None:
    answered, asked, running, left = [await log.start_session("u1") for _ in range(4)]
    for session in (answered, asked, running, left):
        await session.say("Hi")
    await answer(answered, "Hello")
    await call_tools(running, "c-1")
    await running.add_tool_result("c-1", "started", status="pending")
    await begun(left, "half")
    await log._parts.aggregate(left.id).execute(AbandonSteps(now(), frozenset({log._parts.lease.writer_id}), "gone"))
    assert await listed(log, left) == ("abandoned", None, 0)
    assert await listed(log, answered) == ("finished", None, 0)
    assert await listed(log, asked) == ("open", None, 0)
    assert await listed(log, running) == ("finished", None, 1)
    assert await log.unfinished_turns(SYSTEM) == ()


async def test_a_list_has_the_sessions_of_one_status_or_of_several(log: SessionLog) -> None:
    sessions = [await log.start_session(user) for user in ("u1", "u1", "u1", "u2")]
    for session in sessions[1:]:
        await session.say("Hi")
    await answer(sessions[2], "Hello")

    async def ids(user: str | None, *statuses: str) -> list[UUID]:
        page = await log.list_sessions(user or SYSTEM, status=statuses[0] if len(statuses) == 1 else statuses)  # type: ignore[arg-type]
        assert page.total == len(page.items)
        return [item.session_id for item in page.items]

    assert await ids("u1", "open") == [sessions[1].id]
    assert await ids(None, "open") == [sessions[3].id, sessions[1].id]
    assert await ids("u1", "finished", "open") == [sessions[2].id, sessions[1].id]
    assert await ids("u1", "failed") == []
    page = await log.list_sessions(SYSTEM, 1, 1, status=["open", "finished"])
    assert (page.total, [item.session_id for item in page.items]) == (3, [sessions[3].id])
    await log.delete_session(sessions[1].id, "u1")
    assert await ids("u1", "open") == []


@pytest.mark.parametrize("status", ["done", [], ["open", "done"], 7, [None]])
async def test_a_status_that_there_is_not_is_refused(log: SessionLog, status: object) -> None:
    with pytest.raises(InvalidInputError, match=r"status: .* is not one of open, queued"):
        await log.list_sessions("u1", status=status)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"status: .* is not one of queued"):
        await log.unfinished_turns("u1", status=status)  # type: ignore[arg-type]


@pytest.fixture
async def brief_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """A log whose lease runs out soon."""
    async with SessionLog.open(settings.model_copy(update={"lease_seconds": BRIEF, "reap_seconds": 0})) as opened:
        yield opened


async def test_unfinished_turns_say_who_has_them_and_whether_that_one_lives(
    brief_log: SessionLog, log: SessionLog
) -> None:
    dead, living, other = [await log.start_session(user) for user in ("u1", "u1", "u2")]
    for session in (dead, living, other):
        await session.say("Hi", message_id="m-1")
    await Owner.of(brief_log, dead)
    owner = await Owner.of(log, living)
    await owner.asks("c-1")
    await Owner.of(log, other)
    await asyncio.sleep(BRIEF)

    turns = {turn.session_id: turn for turn in await log.unfinished_turns("u1")}
    assert set(turns) == {dead.id, living.id}
    assert [(turns[one.id].status, turns[one.id].is_alive) for one in (dead, living)] == [
        ("answering", False),
        ("running_tools", True),
    ]
    assert {(turn.turn_id, turn.user_id, turn.pid) for turn in turns.values()} == {("m-1", "u1", os.getpid())}
    assert all(turn.since <= now() and turn.expires_at is not None for turn in turns.values())
    assert [turn.session_id for turn in await log.unfinished_turns("u1", status="running_tools")] == [living.id]
    await log.reap()
    (abandoned,) = await log.unfinished_turns(SYSTEM, status=["abandoned"])
    assert (abandoned.session_id, abandoned.writer, abandoned.is_alive) == (dead.id, None, False)


async def test_unfinished_turns_and_waiting_calls_come_in_pages(log: SessionLog, settings: Settings) -> None:
    for _ in range(5):
        session = await log.start_session("u1")
        await session.say("Hi")
        owner = await Owner.of(log, session)
        await owner.asks("c-1", "c-2")
        await owner.needs_approval(0)
        await owner.ends("waiting")
    turns, calls = [], []
    while page := await log.unfinished_turns("u1", limit=2, after=turns[-1].session_id if turns else None):
        assert len(page) <= 2
        turns += page
    while some := await log.waiting_tool_calls("u1", limit=2, after=calls[-1].session_id if calls else None):
        assert len(some) <= 2
        calls += some
    assert len(turns) == len(calls) == 5
    assert [turn.session_id for turn in turns] == sorted({turn.session_id for turn in turns})
    assert {(call.id, call.index, call.waits_for) for call in calls} == {("c-1", 0, "decision")}
    assert await log.unfinished_turns("u2") == await log.waiting_tool_calls("u2") == ()

    # What was counted, and is not in the view, does not end the pages.
    first, *_ = turns
    rows(settings, f"update turnlog_sessions set waiting_calls = 1 where session_id = '{first.session_id}'")
    await log.session(first.session_id, "u1").add_tool_result("c-1", "by hand")
    rows(settings, f"update turnlog_sessions set waiting_calls = 1 where session_id = '{first.session_id}'")
    assert [call.session_id for call in await log.waiting_tool_calls("u1", limit=1)] == [turns[1].session_id]


async def test_the_calls_of_a_view_say_their_step_and_what_they_wait_for(log: SessionLog, session: Session) -> None:
    await session.say("Hi")
    owner = await Owner.of(log, session)
    await owner.asks("run", "ask", "later", "done")
    await owner.needs_approval(1)
    await session.add_tool_result("later", "started", status="pending")
    await session.add_tool_result("done", "21 C")
    view = await session.view()
    (pending,) = view.pending_tool_calls
    assert (pending.id, pending.index, pending.step_id, pending.turn) == ("run", 0, owner.step_id, 0)
    assert (pending.name, pending.arguments, pending.waits_for) == ("search", "{}", None)
    assert [(call.id, call.step_id, call.waits_for) for call in view.waiting_tool_calls] == [
        ("ask", owner.step_id, "decision"),
        ("later", owner.step_id, "result"),
    ]
    await owner.does(DecideApproval(now(), "ask", None, approved=True, by="anna"))
    view = await session.view()
    assert [call.id for call in view.pending_tool_calls] == ["run", "ask"]
    assert [call.id for call in view.waiting_tool_calls] == ["later"]


@pytest.mark.owner
async def test_what_is_unfinished_or_waits_is_found_by_an_index_however_many_sessions_there_are(
    log: SessionLog, settings: Settings
) -> None:
    rows(
        settings,
        """insert into turnlog_sessions (session_id, user_id, started_at, updated_at, version, deleted, turn_status,
            unfinished_turn, waiting_calls)
        select gen_random_uuid(), 'u' || n % 100, now(), now(), 5, false,
            case when n % 1000 = 0 then 'waiting' else 'finished' end, case when n % 1000 = 0 then 'm-1' end,
            case when n % 1000 = 0 then 1 else 0 end
        from generate_series(1, 20000) n""",
    )
    rows(settings, "analyze turnlog_sessions")
    statements, first = log._parts.store.recorder.statements, UUID(int=0)

    def plan(name: str, *parameters: Any) -> str:
        with psycopg.connect(settings.database_url or "") as connection:
            return str(connection.execute(SQL("explain ") + statements[name], parameters, binary=True).fetchall())

    for whose in ((True, None), (False, "u1")):
        plans = {
            "unfinished": plan("unfinished_turns", *whose, list(UNFINISHED), first, 50),
            "waiting": plan("waiting_sessions", *whose, first, 50),
        }
        for index, found in plans.items():
            assert "Seq Scan on turnlog_sessions" not in found
            assert f"turnlog_sessions_{index}" in found or whose[1] is not None, found
