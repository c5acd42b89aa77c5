"""A crash at every event: whatever was recorded, cut anywhere, gives valid prompts, and so it does after what is said
next. And the prompt of later begins as the prompt of before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.sql import SQL, Identifier

from tests.support.conversations import FOLDERS, conversations
from tests.support.foreign_messages import FAULTY, FAULTY_BLOCKS
from tests.support.histories import AT, imported, replayed
from tests.support.prompt_rules import check_no_neighbours
from tests.support.real_data import each_sample, evenly, needs_real_data, real_corpus
from tests.support.recording import chunk, fragment, played
from tests.support.rules import check_prompts
from tests.support.sessions import answer, assert_conversation_goes_on, checked_prompt, contents, stored_events
from turnlog import RecordedEvent, Session, SessionLog
from turnlog.domain.events import MessageAdded
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.testing import own_corpus
from turnlog.projections.projector import Projector
from turnlog.projections.prompt.explain import explain

CUTS = 4
"""Cuts of one history, for each history of the sample."""


def check_every_cut(events: list[RecordedEvent], most: int = 10**6) -> None:
    """Checks the prompts after each event, and after what the user says next; after the last one and others from all
    over if there are twice as many as `most`, for each check takes as long as the history."""
    projector, cuts = Projector(events[0].session_id), {event.position for event in evenly(events[::-1], most)}
    for event in events:
        projector.apply(event)
        if event.position not in cuts:
            continue
        check_prompts(projector.view())
        resumed = Projector.resume(projector.head(), projector.pages())
        said = MessageAdded(at=AT, message_id="next", role="user", content="Go on.")
        resumed.apply(RecordedEvent(event.session_id, event.position + 1, 0, said))
        check_prompts(resumed.view())


@pytest.mark.parametrize(
    "streams", [pytest.param(own_corpus(), id="own"), pytest.param(real_corpus(), id="real", marks=needs_real_data)]
)
@each_sample
async def test_a_stream_that_is_cut_after_any_event_gives_valid_prompts(
    log: SessionLog, streams: Any, count: int
) -> None:
    for stream in evenly(streams, count):
        session = await log.start_session(user_id="u1")
        await session.say("Hello")
        async for _ in session.record(played(*stream.parsed())):
            pass
        events = [event async for event in session.events()]
        check_every_cut(events, CUTS * count)
        assert len(events) > 3, f"nothing of {stream.name} was recorded"
        assert explain(session.id, events, "chat").breaks == ()


CORPORA = ["valid", "valid_reused_ids", "pending_call_at_end", "invalid_as_recorded"]
RECORDED = [param for param in product(FOLDERS, CORPORA) if (param[0].values[0] / f"{param[1]}.jsonl").exists()]


each_corpus = pytest.mark.parametrize(
    ("folder", "name"),
    [pytest.param(folder.values[0], name, id=f"{folder.id}-{name}") for folder, name in RECORDED],
)


@each_corpus
@each_sample
@pytest.mark.parametrize("history", [imported, replayed])
def test_a_conversation_that_is_cut_after_any_event_gives_valid_prompts(
    folder: Any, name: str, history: Any, count: int
) -> None:
    for messages in evenly(conversations(folder, name), count):
        check_every_cut(history(messages), CUTS * count)


@pytest.mark.parametrize("kind", FAULTY)
def test_a_faulty_history_that_is_cut_after_any_message_gives_valid_prompts(kind: str) -> None:
    check_every_cut(imported(FAULTY[kind]))


@pytest.mark.parametrize("kind", FAULTY_BLOCKS)
def test_faulty_blocks_that_are_cut_after_any_message_give_valid_prompts(kind: str) -> None:
    check_every_cut(imported(FAULTY_BLOCKS[kind], "anthropic"))


# Sessions that go on after it


async def record_a_turn_with_everything(session: Session) -> None:
    """Text, two calls in interleaved fragments, a pending and two final results, and an answer."""
    await session.add_message("system", "Be brief.")
    await session.say("Weather in Paris and Rome?")
    chunks = (
        chunk("Let me "),
        chunk("see."),
        chunk(None, fragment(0, "", "call-1", "weather")),
        chunk(None, fragment(0, '{"city":')),
        chunk(None, fragment(1, '{"city": "R', "call-2", "weather")),
        chunk(None, fragment(0, ' "Paris"}')),
        chunk(None, fragment(1, 'ome"}')),
        chunk(None, finish_reason="tool_calls"),
    )
    async for _ in session.record(played(*chunks)):
        pass
    await session.add_tool_result("call-1", "asked", status="pending")
    await session.add_tool_result("call-2", "no answer", status="error")
    await session.add_tool_result("call-1", "21 C")
    await answer(session, "21 C ", "in Paris.")


async def with_raw_events(log: SessionLog, events: Sequence[RecordedEvent]) -> Session:
    """A session that holds these events, and a line in the lists, as after a crash."""
    session_id = uuid4()
    store = log._parts.store
    copies = [RecordedEvent(session_id, event.position, 0, event.event) for event in events]
    await asyncio.to_thread(store.recorder.insert_events, [store.mapper.to_stored_event(copy) for copy in copies])
    await asyncio.to_thread(_insert_line, store.recorder, session_id, len(events))
    return log.session(session_id, "u1")


def _insert_line(recorder: BatchRecorder, session_id: UUID, version: int) -> None:
    line = SQL("insert into {} values (%s, 'u1', null, now(), now(), %s, false)")
    table = Identifier(recorder.datastore.schema, "turnlog_sessions")
    with recorder.datastore.transaction(commit=True) as cursor:
        cursor.execute(line.format(table), (session_id, version))


async def crashed_at_every_event(log: SessionLog, session: Session) -> list[Session]:
    """For each event of the turn a session whose log ends with it."""
    await record_a_turn_with_everything(session)
    events = await stored_events(session)
    assert len({event.topic for event in events}) == 8
    return [await with_raw_events(log, events[:cut]) for cut in range(1, len(events) + 1)]


async def test_a_crash_at_any_event_leaves_a_session_that_goes_on(log: SessionLog, session: Session) -> None:
    for crashed in await crashed_at_every_event(log, session):
        await checked_prompt(crashed)
        await assert_conversation_goes_on(crashed)


async def test_a_crash_at_any_event_can_be_gone_on_from_without_a_new_question(
    log: SessionLog, session: Session
) -> None:
    for crashed in await crashed_at_every_event(log, session):
        await answer(crashed, "Once more.")
        assert (await checked_prompt(crashed))[-1]["content"].endswith("Once more.")
        check_no_neighbours((await crashed.view()).messages)


async def test_a_crash_at_any_event_takes_the_late_results_of_its_finished_calls(
    log: SessionLog, session: Session
) -> None:
    for crashed in await crashed_at_every_event(log, session):
        waiting = (await crashed.view()).pending_tool_calls
        for call in waiting:
            await crashed.add_tool_result(call.id, "late")
        assert (await crashed.view()).pending_tool_calls == ()
        prompt = await checked_prompt(crashed)
        assert contents(prompt).count("late") == len(waiting)
