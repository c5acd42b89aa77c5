"""Histories of other systems are imported verbatim, once, and go on where they grew."""

from __future__ import annotations

import json

import pytest

from tests.support.foreign_messages import FAULTY, call, user
from turnlog import SYSTEM, InvalidInputError, SessionExistsError, SessionLog
from turnlog.infrastructure.repair.importing import Conversation


async def test_the_same_import_is_stored_once_and_a_longer_one_goes_on(log: SessionLog) -> None:
    messages = FAULTY["split_assistant"]
    session = await log.import_session(messages, "u1")
    version = (await session.view()).version
    again = await log.import_session([*messages, user("more")], "u1", session_id=session.id)
    assert (await again.view()).version == version + 1
    events = [recorded.event async for recorded in session.events(after=1)]
    assert [event.message for event in events] == [*messages, user("more")]  # type: ignore[union-attr]


async def test_rows_are_read_in_their_sequence_and_json_columns_as_text_or_objects(log: SessionLog) -> None:
    rows = [
        {"sequence": 3, "role": "tool", "toolCallId": "c1", "content": "found"},
        {"sequence": 1, "role": "user", "content": "hi"},
        {"sequence": 2, "role": "assistant", "content": None, "toolCalls": json.dumps([call()])},
        {"sequence": 4, "role": "assistant", "content": "Done.", "tool_calls": "[{", "functionCall": None},
    ]
    session = await log.import_session(rows, "u1", format="rows")
    assert [message["role"] for message in await session.prompt()] == ["user", "assistant", "tool", "assistant"]
    assert [fault.kind for fault in (await session.view()).faults] == ["bad_field"]


async def test_what_is_no_message_is_refused_and_nothing_is_stored(log: SessionLog) -> None:
    for bad in (["text"], "text", [user(), None]):
        with pytest.raises(InvalidInputError, match="messages"):
            await log.import_session(bad, "u1")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="format"):
        await log.import_session([], "u1", format="xml")  # type: ignore[arg-type]
    assert (await log.list_sessions(SYSTEM)).total == 0


async def test_an_edit_that_compares_equal_is_one(log: SessionLog) -> None:
    session = await log.import_session([user([{"type": "text", "text": "x", "n": 1}])], "u1")
    with pytest.raises(InvalidInputError, match="another one was imported"):
        await log.import_session([user([{"type": "text", "text": "x", "n": True}])], "u1", session.id)


async def test_a_dry_run_refuses_the_session_of_somebody_else(log: SessionLog) -> None:
    session = await log.import_session([user()], "u1")
    with pytest.raises(SessionExistsError):
        await log.import_conversation(Conversation([user()], "u2", session.id), dry_run=True)
