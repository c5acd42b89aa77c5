"""Forks, views of the past, compactions and repairs, one after the other and in each other's way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.repair.test_import import FAULTY, call, check_all, result, said, user
from turnlog import SYSTEM, InvalidInputError, Session, SessionLog, SessionNotFoundError, StoreUnavailableError
from turnlog.infrastructure.repair import forking
from turnlog.infrastructure.store import events

BROKEN = FAULTY["unanswered_call"]


async def talked(session: Session, turns: int = 3) -> Session:
    for number in range(turns):
        await session.say(f"question {number}")
        await session.add_message("assistant", f"answer {number}")
    return session


async def contents(session: Session) -> list[Any]:
    return [message["content"] for message in await session.prompt()]


async def test_a_fork_in_the_middle_of_a_step_is_legal_and_goes_on_by_itself(session: Session) -> None:
    await session.say("hi")
    async with session.completion() as completion:
        await completion.text("Let me")
        await completion.tool_call_delta(0, id="c1", name="find", arguments='{"q": ')
        fork = await session.fork()
        await completion.tool_call_delta(0, arguments='"x"}')
        await completion.finish("tool_calls")
    await check_all(fork)
    await fork.say("go on")
    assert await contents(fork) == ["hi", "Let me", "go on"]
    async with fork.completion() as completion:
        await completion.text("Yes.")
    await check_all(fork)
    assert (await session.view()).turns[0].steps[0].status == "finished"


async def test_a_long_fork_is_copied_in_parts_and_is_the_same(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    await talked(session, 10)
    view = await session.view()
    monkeypatch.setattr(forking, "FORK_APPEND_EVENTS", 4)
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


async def test_of_two_compactions_the_later_one_counts_and_an_earlier_place_is_refused(session: Session) -> None:
    await talked(session)
    await session.compact("one", 3)
    assert await contents(session) == ["one", "question 1", "answer 1", "question 2", "answer 2"]
    await session.compact("two", 5)
    assert await contents(session) == ["two", "question 2", "answer 2"]
    with pytest.raises(InvalidInputError, match=r"^upto: 3 is before 5"):
        await session.compact("three", 3)
    await check_all(session)


async def test_a_compaction_does_not_cut_a_call_that_waits_but_an_old_one_that_nobody_answered(
    session: Session,
) -> None:
    await session.say("hi")
    await session.add_message("assistant", None, tool_calls=[call("c1")])
    with pytest.raises(InvalidInputError, match=r"^upto: the step at 3 waits for a tool result$"):
        await session.compact("so far", 3)
    await session.add_tool_result("c1", "it runs", status="pending")
    await session.say("and?")
    with pytest.raises(InvalidInputError, match=r"^upto: the step at 3 is open or waits"):
        await session.compact("so far", 3)
    await session.add_tool_result("c1", "found")
    await session.compact("so far", 3)
    assert await contents(session) == ["so far", "and?"]
    await check_all(session)


async def test_a_history_that_is_broken_can_be_compacted_and_then_repaired(log: SessionLog) -> None:
    session = await log.import_session([*BROKEN, said("Yes."), user("more")], "u1")
    await session.compact("so far", 3)
    assert await contents(session) == ["so far", "stop", "Yes.", "more"]
    report = await log.repair(session.id, "u1")
    assert report.corrections
    assert list(report.after) == await session.prompt()
    assert (await session.view()).faults == ()
    await check_all(session)


async def test_what_is_imported_behind_a_repair_is_repaired_by_the_next_one(log: SessionLog) -> None:
    session = await log.import_session(BROKEN, "u1")
    await log.repair(session.id, "u1")
    more = [*BROKEN, said("Hel"), said("lo"), said(None, call("c2"))]
    await log.import_session(more, "u1", session_id=session.id)
    assert {fault.kind for fault in (await session.view()).faults} == {"split_assistant", "unanswered_call"}
    second = await log.repair(session.id, "u1")
    assert {correction.position for correction in second.corrections} == {7, 8}
    assert (await session.view()).faults == ()
    await check_all(session)
    assert await log.undo_repair(session.id, "u1")  # the latest one
    assert {fault.kind for fault in (await session.view()).faults} == {"split_assistant", "unanswered_call"}
    assert await log.undo_repair(session.id, "u1")
    assert not await log.undo_repair(session.id, "u1")


async def test_a_real_result_that_comes_after_a_made_up_one_takes_its_place(log: SessionLog) -> None:
    session = await log.import_session(BROKEN, "u1")
    await log.repair(session.id, "u1")
    await log.import_session([*BROKEN, result("c1", "late")], "u1", session_id=session.id)
    assert await contents(session) == ["hi", None, "late", "stop"]
    await check_all(session)
    await log.repair(session.id, "u1")
    assert (await session.view()).faults == ()


async def test_a_session_with_an_open_step_can_be_repaired_and_the_step_goes_on(log: SessionLog) -> None:
    session = await log.import_session(BROKEN, "u1")
    async with session.completion() as completion:
        await completion.text("Hel")
        report = await log.repair(session.id, "u1")
        await completion.text("lo")
        await completion.finish("stop")
    assert [correction.fault for correction in report.corrections] == ["unanswered_call"]
    assert (await contents(session))[-1] == "Hello"
    assert (await session.view()).faults == ()
    await check_all(session)


async def test_two_repairs_at_once_are_one(log: SessionLog, settings: Any) -> None:
    session = await log.import_session(BROKEN, "u1")
    async with SessionLog.open(settings) as other:
        tried = await log.repair(session.id, "u1", dry_run=True)
        first, second = await log.repair(session.id, "u1"), await other.repair(session.id, "u1")
    assert tried.corrections == first.corrections
    assert second.corrections == ()
    assert [e.topic async for e in session.events()].count("session-repaired.v1") == 1


async def test_the_fork_of_a_repaired_session_is_repaired_and_can_be_undone_by_itself(log: SessionLog) -> None:
    session = await log.import_session(BROKEN, "u1")
    report = await log.repair(session.id, "u1")
    fork = await session.fork()
    assert await fork.prompt() == await session.prompt()
    assert await log.undo_repair(fork.id, "u1", report.repair_id)
    assert (await fork.view()).faults != ()
    assert (await session.view()).faults == ()


async def test_a_fork_that_is_cancelled_half_way_is_deleted_again(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "FORK_APPEND_EVENTS", 1)
    await asyncio.gather(*(session.say(f"{number}") for number in range(500)))
    forked = asyncio.create_task(session.fork())
    while (await log.list_sessions(SYSTEM)).total == 1:
        assert not forked.done()
    forked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await forked
    await log._parts.background.close()

    assert [found async for found in log.session_ids(SYSTEM)] == [session.id]


async def test_a_fork_of_which_nothing_was_stored_leaves_nothing_to_delete(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(*_: Any, **__: Any) -> Any:
        raise StoreUnavailableError("gone")

    monkeypatch.setattr(log._parts.store.events, "pages", lost)
    with pytest.raises(StoreUnavailableError):
        await session.fork()
    await log._parts.background.close()
    assert caplog.messages == []


async def test_a_fork_from_before_a_session_had_an_owner_has_its_owner(log: SessionLog) -> None:
    session = await log.start_session(None)
    await session.say("hi")
    await log.assign_owner(session.id, "u1")
    for version in (2, 3):
        fork = await log.session(session.id, "u1").fork(version)
        assert (await fork.view()).user_id == "u1"
