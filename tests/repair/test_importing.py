"""Histories of other systems are imported verbatim, once, and go on where they grew."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from tests.support.foreign_messages import FAULTY, call, user
from tests.support.sessions import contents
from turnlog import SYSTEM, InvalidInputError, SessionExistsError, SessionLog, Settings, StoreUnavailableError
from turnlog.infrastructure.repair import importing
from turnlog.infrastructure.repair.importing import Conversation
from turnlog.infrastructure.store.appends import Append
from turnlog.infrastructure.store.whole import WholeAppend


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


async def test_half_a_character_is_imported_as_it_came(log: SessionLog) -> None:
    session = await log.import_session([user("half \ud83d")], "u1")
    assert contents((await session.view()).messages) == ["half \ud83d"]


async def test_an_edit_that_compares_equal_is_one(log: SessionLog) -> None:
    session = await log.import_session([user([{"type": "text", "text": "x", "n": 1}])], "u1")
    with pytest.raises(InvalidInputError, match="another one was imported"):
        await log.import_session([user([{"type": "text", "text": "x", "n": True}])], "u1", session.id)


async def test_a_dry_run_refuses_the_session_of_somebody_else(log: SessionLog) -> None:
    session = await log.import_session([user()], "u1")
    with pytest.raises(SessionExistsError):
        await log.import_conversation(Conversation([user()], "u2", session.id), dry_run=True)


def _said(count: int) -> list[dict[str, Any]]:
    return [{"role": "user" if n % 2 == 0 else "assistant", "content": f"{n}"} for n in range(count)]


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@pytest.mark.parametrize("known", [0, 3])
async def test_an_import_in_pieces_is_whole_or_not_there(
    log: SessionLog, settings: Settings, monkeypatch: pytest.MonkeyPatch, fails_at: int, known: int
) -> None:
    monkeypatch.setattr(importing, "PIECE_MESSAGES", 4)
    session_id, added, add = uuid4(), 0, WholeAppend.add
    if known:
        await log.import_session(_said(known), "u1", session_id)

    async def failing(self: WholeAppend, append: Append) -> None:
        nonlocal added
        added += 1
        if added == fails_at:
            raise StoreUnavailableError("gone")
        await add(self, append)

    with monkeypatch.context() as broken:
        broken.setattr(WholeAppend, "add", failing)
        with pytest.raises(StoreUnavailableError):
            await log.import_session(_said(14), "u1", session_id)
    async with SessionLog.open(settings) as other:
        assert (await other.list_sessions("u1")).total == (1 if known else 0)
        if known:
            assert len((await other.session(session_id, "u1").view()).messages) == known
        session = await other.import_session(_said(14), "u1", session_id)
        assert contents((await session.view()).messages) == [f"{n}" for n in range(14)]
    assert contents((await log.session(session_id, "u1").view()).messages) == [f"{n}" for n in range(14)]


async def test_large_messages_are_imported_in_pieces(log: SessionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "PIECE_BYTES", 100_000)
    large = [{"role": "user", "content": f"{n}" + "x" * 60_000} for n in range(7)]
    session = await log.import_session(large, "u1")
    assert [event.topic async for event in session.events()] == ["session-started.v1", *["message-imported.v1"] * 7]


@pytest.mark.parametrize("pieces", [500, 2])
async def test_of_two_imports_at_once_what_returns_is_stored(
    log: SessionLog, other_log: SessionLog, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(importing, "PIECE_MESSAGES", pieces)
    refused = 0
    for logs in [(log, log), (log, other_log)] * 4:
        session_id, begun = uuid4(), _said(1)
        await log.import_session(begun, "u1", session_id)
        theirs = [[*begun, *({"role": "user", "content": f"{name} {n}"} for n in range(5))] for name in ("a", "b")]
        done = await asyncio.gather(
            *(one.import_session(their, "u1", session_id) for one, their in zip(logs, theirs, strict=True)),
            return_exceptions=True,
        )
        stored = contents((await log.session(session_id, "u1").view()).messages)
        for result, their in zip(done, theirs, strict=True):
            if isinstance(result, BaseException):
                assert isinstance(result, InvalidInputError)
                refused += 1
            else:
                assert stored == contents(their)
    assert refused == 8
