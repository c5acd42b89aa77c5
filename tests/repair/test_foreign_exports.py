"""Exports of other systems in the log: their times, titles and branches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.exports import NAMES, export, in_short
from turnlog import SYSTEM, InvalidInputError, SessionExistsError, SessionLog
from turnlog.domain.foreign import conversations_in
from turnlog.infrastructure.repair.importing import Conversation

LONG_AGO = "2020-01-01T00:00:00Z"
SOON = timedelta(minutes=5)


@pytest.mark.parametrize("name", NAMES)
async def test_each_conversation_of_an_export_is_a_session_and_nothing_is_imported_twice(
    log: SessionLog, name: str
) -> None:
    for raw in conversations_in(export(name)):
        session = await log.import_session(raw, "u1")
        assert await session.prompt()
        report = await log.import_conversation(Conversation(raw, "u1", session.id))
        assert report.became == "already_there"
        assert {step.origin for turn in (await session.view()).turns for step in turn.steps} <= {report.format}


async def test_a_message_has_its_own_time_and_lists_have_that_of_the_database(log: SessionLog) -> None:
    now = datetime.now(UTC)
    rows = [
        {"role": "user", "content": "Hi", "created_at": LONG_AGO},
        {"role": "assistant", "content": "Hello", "created_at": "2020-01-01T00:00:05Z", "model": "m-1"},
        {"role": "user", "content": "So?", "created_at": "2091-01-01T00:00:00Z"},
    ]
    session = await log.import_session(rows, "u1", format="rows")
    later = await log.start_session("u1")
    view = await session.view()
    assert view.turns[0].messages[0].at == datetime(2020, 1, 1, tzinfo=UTC)
    step = view.turns[0].steps[0]
    assert (step.started_at, step.model) == (datetime(2020, 1, 1, 0, 0, 5, tzinfo=UTC), "m-1")
    assert view.turns[1].messages[0].at.year == 2091
    assert [message["content"] for message in view.messages] == ["Hi", "Hello", "So?"]
    listed = (await log.list_sessions("u1")).items
    assert [item.session_id for item in listed] == [later.id, session.id]
    for at in (view.started_at, view.updated_at, listed[1].updated_at, listed[1].started_at):
        assert abs(at - now) < SOON
    events = [recorded.event async for recorded in session.events()]
    assert all(abs(event.at - now) < SOON for event in events)


async def test_what_an_export_says_of_a_conversation_is_its_title_and_in_its_metadata(log: SessionLog) -> None:
    raw = export("chatgpt.json")[0]
    view = await (await log.import_session(raw, "u1")).view()
    assert view.title == "Harbour hours"
    assert view.metadata == {
        "imported": {
            "format": "chatgpt",
            "id": "6a1f0000-1111-2222-3333-444455556666",
            "started_at": "2024-05-01T12:00:00.500000+00:00",
            "updated_at": "2024-05-01T12:15:00.500000+00:00",
        }
    }
    named = await (await log.import_session({**raw, "title": "x" * 2_000}, "u1")).view()
    assert named.title is not None
    assert len(named.title) <= 1_000
    assert (await (await log.import_session(raw, "u1", title="Mine")).view()).title == "Mine"


async def test_the_other_branches_become_forks_where_they_are_wanted(log: SessionLog) -> None:
    raw = export("chatgpt.json")[0]
    plain = await log.import_conversation(Conversation(raw, "u1"))
    assert plain.branches == ()
    for became in ("new", "already_there"):
        session_id = (await log.session(plain.session_id, "u1")).id if became == "already_there" else None
        report = await log.import_conversation(Conversation(raw, "u1", session_id, branches=True))
        (branch,) = report.branches
        fork = await log.session(branch, "u1")
        said = list(in_short(await fork.prompt()))
        assert said[-2:] == ["assistant: At seven, I believe.", "user: Are you sure?"]
        topics = [recorded.event.topic async for recorded in fork.events()]
        assert topics.count("session-forked.v1") == 1
        again = await log.import_conversation(Conversation(raw, "u1", report.session_id, branches=True))
        assert (again.became, again.branches) == ("already_there", report.branches)
        assert [recorded.event.topic async for recorded in fork.events()] == topics
    assert (await log.list_sessions(SYSTEM)).total == 4


async def test_a_dry_run_of_branches_stores_nothing(log: SessionLog) -> None:
    raw = export("claude_ai.json")[1]
    report = await log.import_conversation(Conversation(raw, "u1", branches=True), dry_run=True)
    assert len(report.branches) == 1
    assert (await log.list_sessions(SYSTEM)).total == 0


async def test_a_branch_that_somebody_else_has_is_refused(log: SessionLog) -> None:
    raw = export("claude_ai.json")[1]
    first = await log.import_conversation(Conversation(raw, "u1", branches=True))
    await log.delete_session(first.branches[0], "u1")
    with pytest.raises(SessionExistsError):
        await log.import_conversation(Conversation(raw, "u1", first.session_id, branches=True))


async def test_what_says_nothing_leaves_no_session(log: SessionLog) -> None:
    for nothing in ([], [{"speaker": "me"}], {"mapping": {}}, [{"role": "assistant", "content": " " * 0}]):
        with pytest.raises(InvalidInputError, match="messages"):
            await log.import_session(nothing, "u1")
    assert (await log.list_sessions(SYSTEM)).total == 0


async def test_an_import_in_an_unseen_format_goes_on_with_one_that_was_given(log: SessionLog) -> None:
    messages = [{"role": "user", "content": "hi"}]
    session = await log.import_session(messages, "u1", format="anthropic")
    await log.import_session([*messages, {"role": "assistant", "content": "Hello"}], "u1", session.id)
    assert [message["content"] for message in await session.prompt()] == ["hi", "Hello"]
