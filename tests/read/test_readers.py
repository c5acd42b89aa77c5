"""What every reader gets: the same view in each process, lists, and nothing of a deleted session."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from redis import Redis

from tests.support.sessions import have_a_whole_conversation, wait_until_cached
from turnlog import SYSTEM, Session, SessionLog, SessionNotFoundError, SessionView, Settings


async def test_the_view_of_a_whole_conversation_round_trips_through_json(session: Session) -> None:
    await have_a_whole_conversation(session)
    view = await session.view()
    assert SessionView.model_validate_json(view.model_dump_json()) == view
    assert SessionView.from_json(view.to_json()) == view
    assert SessionView.model_validate(view.model_dump(mode="json")) == view


async def test_what_was_appended_is_what_every_reader_gets(
    log: SessionLog, other_log: SessionLog, session: Session
) -> None:
    await have_a_whole_conversation(session)
    view = await session.view()
    assert view == await log.session(session.id, "u1").view()
    assert view == await other_log.session(session.id, "u1").view()
    assert view.turns[0].messages[1].content == ({"type": "text", "text": "Weather?"},)
    assert [call.arguments for call in view.turns[0].steps[0].message.tool_calls] == [
        '{"city": "Paris"}',
        '{"city": "Rome"}',
    ]
    assert view.messages[-1] == {"role": "assistant", "content": None, "refusal": "I do not joke."}


async def test_somebody_elses_session_looks_like_one_that_was_never_there(log: SessionLog, session: Session) -> None:
    unknown = uuid4()
    said = []
    for session_id in (session.id, unknown):
        with pytest.raises(SessionNotFoundError) as refused:
            await log.session(session_id, "u2").view()
        said.append(str(refused.value).replace(str(session_id), "ID"))
    assert said[0] == said[1]


async def test_the_partial_of_an_open_step_is_visible_to_another_process(settings: Settings) -> None:
    async with SessionLog.open(settings) as log, SessionLog.open(settings) as other:
        session = await log.start_session(user_id="u1")
        await session.say("hi")
        async with session.completion() as completion:
            await completion.text("Hel")
            view = await other.session(session.id, "u1").view()
            await completion.text("lo")
            later = await other.session(session.id, "u1").view()
            await completion.finish()

    assert [view.turns[0].steps[0].message.content, later.turns[0].steps[0].message.content] == ["Hel", "Hello"]
    assert view.turns[0].status == "open"


async def test_events_come_in_order_from_any_position(talk: Session) -> None:
    everything = [event.position async for event in talk.events()]

    assert everything == list(range(1, everything[-1] + 1))
    assert [event.position async for event in talk.events(after=10)] == everything[10:]


async def test_a_session_of_more_events_than_one_query_takes_is_read_whole(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnlog.infrastructure.store.events.STATEMENT_EVENTS", 10)
    for number in range(35):
        await session.say(str(number))

    store = log._parts.store
    assert [event.position for event in await store.events.read(session.id)] == list(range(1, 37))
    assert [event.position for event in await store.events.read(session.id, after=5, limit=20)] == list(range(6, 26))
    assert [event.position for event in await store.events.read(session.id, upto=20)] == list(range(1, 21))


# Lists and deletion


async def ids_on_page(log: SessionLog, principal: Any, **page: int) -> list[UUID]:
    return [item.session_id for item in (await log.list_sessions(principal, **page)).items]


async def test_a_list_has_limit_offset_total_and_newest_activity_first(log: SessionLog) -> None:
    mine = [await log.start_session("u1", title=f"number {number}") for number in range(5)]
    theirs = await log.start_session("u2")
    await mine[1].say("Hello")
    newest_first = [mine[place].id for place in (1, 4, 3, 2, 0)]
    assert await ids_on_page(log, "u1") == newest_first
    assert await ids_on_page(log, "u1", limit=2) == newest_first[:2]
    assert await ids_on_page(log, "u1", limit=2, offset=2) == newest_first[2:4]
    assert await ids_on_page(log, "u1", offset=5) == []
    assert [(await log.list_sessions("u1", limit=1, offset=offset)).total for offset in (0, 4, 9)] == [5, 5, 5]
    assert set(await ids_on_page(log, SYSTEM)) == {*newest_first, theirs.id}
    assert (await log.list_sessions("nobody")).total == 0


async def test_a_line_of_the_list_says_what_the_view_says(log: SessionLog, session: Session) -> None:
    await have_a_whole_conversation(session)
    view, line = await session.view(), (await log.list_sessions("u1")).items[0]
    assert (line.session_id, line.user_id, line.title) == (view.session_id, view.user_id, view.title)
    assert (line.started_at, line.updated_at, line.version) == (view.started_at, view.updated_at, view.version)


async def test_a_deleted_session_is_gone_everywhere(
    log: SessionLog, other_log: SessionLog, session: Session, redis: Redis
) -> None:
    await have_a_whole_conversation(session)
    await session.view()
    await wait_until_cached(redis, session)
    assert await log.delete_session(session.id, "u1") is True
    assert redis.keys(f"*{session.id}*") == []
    for reader in (session, log.session(session.id, SYSTEM), other_log.session(session.id, "u1")):
        with pytest.raises(SessionNotFoundError):
            await reader.view()
    assert (await log.list_sessions("u1")).total == 0
    assert await log.delete_session(session.id, "u1") is False


async def test_only_the_owner_deletes(log: SessionLog, session: Session) -> None:
    assert await log.delete_session(session.id, "u2") is False
    assert await log.delete_session(uuid4(), "u1") is False
    assert (await session.view()).version == 1
