"""Tool results: of calls that are there, and the first final one stands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.inputs import nothing_stored, refused
from tests.support.sessions import call_tools
from turnlog import SYSTEM, Session, SessionLog, Settings
from turnlog.domain.errors import ToolResultConflictError, UnknownToolCallError


async def test_a_result_for_an_unknown_call_is_refused(log: SessionLog, session: Session) -> None:
    await call_tools(session, "call-1")
    async with nothing_stored(log):
        for call_id in ("call-2", "", "CALL-1"):
            for status in ("final", "pending", "error"):
                with pytest.raises(UnknownToolCallError):
                    await session.add_tool_result(call_id, "21 C", status=status)


@pytest.mark.parametrize("call_id", [5, None, b"call-1"])
async def test_a_call_id_that_is_no_text_is_refused(log: SessionLog, session: Session, call_id: Any) -> None:
    await call_tools(session, "call-1")
    async with nothing_stored(log):
        with refused("call_id"):
            await session.add_tool_result(call_id, "21 C")


@pytest.mark.parametrize("status", ["done", "", None, 5, "FINAL"])
async def test_an_unknown_status_of_a_result_is_refused(log: SessionLog, session: Session, status: Any) -> None:
    await call_tools(session, "call-1")
    async with nothing_stored(log):
        with refused("status"):
            await session.add_tool_result("call-1", "21 C", status=status)


async def check_that_the_first_result_stands(log: SessionLog, session: Session) -> None:
    """The first was the final result "21 C" of call-1."""
    async with nothing_stored(log):
        await session.add_tool_result("call-1", "21 C")
        await session.add_tool_result("call-1", "asked", status="pending")
        with pytest.raises(ToolResultConflictError):
            await session.add_tool_result("call-1", "22 C")
        with pytest.raises(ToolResultConflictError):
            await session.add_tool_result("call-1", "21 C", status="error")
        with pytest.raises(ToolResultConflictError):
            await session.add_tool_result("call-1", [{"type": "text", "text": "21 C"}])


async def test_a_second_final_result_is_ignored_when_it_is_the_same_and_else_refused(
    log: SessionLog, session: Session
) -> None:
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "21 C")
    await check_that_the_first_result_stands(log, session)


async def test_a_second_final_result_is_known_by_a_log_that_was_opened_later(
    session: Session, settings: Settings
) -> None:
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "21 C")
    await session.view()
    async with SessionLog.open(settings) as reopened:
        again = reopened.session(session.id, SYSTEM)
        await again.view()
        await check_that_the_first_result_stands(reopened, again)


async def test_a_second_final_result_for_a_call_of_an_old_turn_is_known(
    session: Session, log: SessionLog, settings: Settings
) -> None:
    await call_tools(session, "call-1")
    await session.add_tool_result("call-1", "21 C")
    for number in range(5):
        await session.say(f"question {number}")
        await call_tools(session, f"call of turn {number}")
        await session.add_tool_result(f"call of turn {number}", "other")
        await session.view()
    await check_that_the_first_result_stands(log, session)
    async with SessionLog.open(settings) as reopened:
        await check_that_the_first_result_stands(reopened, reopened.session(session.id, "u1"))


async def test_a_result_of_content_parts_is_known_again(log: SessionLog, session: Session) -> None:
    await call_tools(session, "call-1")
    parts = [{"type": "text", "text": "21 C", "extra": {"a": 1, "b": 2}}]
    await session.add_tool_result("call-1", parts)
    async with nothing_stored(log):
        await session.add_tool_result("call-1", [{"extra": {"b": 2, "a": 1}, "text": "21 C", "type": "text"}])
