"""The fast lane of text deltas: what it writes and reads is what the ordinary way writes and reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import event, given
from hypothesis import strategies as st

from tests.support.strategies import BEGAN, SESSION_ID, any_text, histories, step_ids
from turnlog.domain import events as e
from turnlog.domain.commands import SetTitle
from turnlog.domain.decide import decide
from turnlog.domain.errors import TurnlogError, UnreadableEventError
from turnlog.domain.evolve import evolve
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import SessionState, initial_state
from turnlog.domain.step_appends import AppendReasoning, AppendText
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.appends import Append
from turnlog.infrastructure.store.encoding import LIST_TOUCH, AppendEncoder, Decided
from turnlog.infrastructure.store.events import MAX_POSITION
from turnlog.infrastructure.store.store import EventStore
from turnlog.infrastructure.store.text_lane import encode_text, text_delta_json
from turnlog.projections.projector import Projector

# Writing


class Handler:
    """Hands appends over."""

    id_bytes = SESSION_ID.bytes
    stored_commit_id = 0

    def settled(self, append: Any, error: Exception | None) -> None:
        raise AssertionError("nothing is handed over here")


def encoded(append: Append) -> tuple[Any, ...]:
    """All that is sent of an append."""
    return append.rows, append.size, append.count, append.position, append.session, append.keys


def ordinary(state: SessionState, position: int, command: Any, encoder: AppendEncoder) -> tuple[Append, SessionState]:
    """The append of a command as it is made of any command, and the state after it."""
    append, decided = Append(Handler()), list[Decided]()
    for one in decide(state, command):
        decided.append(Decided(one, evolve(decided[-1].state if decided else state, one)))
    encoder.encode(append, position, state, decided)
    return append, decided[-1].state if decided else state


moments = st.integers(0, 60).map(lambda tenths: BEGAN + timedelta(seconds=tenths / 10))
lane_commands = st.one_of(
    st.builds(AppendText, at=moments, step_id=step_ids, text=any_text),
    st.builds(AppendText, at=moments, step_id=step_ids, text=any_text),
    st.builds(AppendReasoning, at=moments, step_id=step_ids, text=any_text),
    st.builds(SetTitle, at=moments, title=any_text),
)


@given(histories, st.lists(lane_commands, min_size=3, max_size=12))
def test_the_lane_takes_what_is_one_text_delta_and_writes_it_as_any_event(
    history: list[RecordedEvent], commands: list[Any]
) -> None:
    # Two of the four steps are open, if the session is.
    open_steps = [e.CompletionStarted(at=BEGAN, step_id=step_id, writer="w1") for step_id in ("s1", "s2")]
    state = reduce(evolve, [*(one.event for one in history), *open_steps], initial_state(SESSION_ID))
    position, lane, usual = len(history) + 3, AppendEncoder(SESSION_ID), AppendEncoder(SESSION_ID)
    for command in commands:
        fast = Append(Handler())
        is_taken = encode_text(fast, position, [command], state, lane)
        try:
            slow, after = ordinary(state, position, command, usual)
        except TurnlogError:
            assert not is_taken
            continue
        event(f"taken: {is_taken}")
        assert is_taken == (slow.rows[::2] == (e.TextDelta.topic,))
        if not is_taken:
            assert encoded(fast) == encoded(Append(Handler()))
            fast, _ = ordinary(state, position, command, lane)
        else:
            assert after is state
        assert encoded(fast) == encoded(slow)
        assert lane.line_due == usual.line_due
        state, position = after, position + slow.count


def test_the_lane_leaves_all_else_alone() -> None:
    began = e.SessionStarted(at=BEGAN, user_id="u1"), e.CompletionStarted(at=BEGAN, step_id="s1")
    state = reduce(evolve, began, initial_state(SESSION_ID))
    text = AppendText(BEGAN, "s1", "hi")
    for commands in ([], [text, text], [began], [AppendText(BEGAN, "s1", "")], [AppendText(BEGAN, "s2", "hi")]):
        assert not encode_text(Append(Handler()), 3, commands, state, AppendEncoder(SESSION_ID))


def test_while_texts_come_the_line_in_the_lists_is_written_now_and_then() -> None:
    began = e.SessionStarted(at=BEGAN, user_id="u1"), e.CompletionStarted(at=BEGAN, step_id="s1", writer="w1")
    state = reduce(evolve, began, initial_state(SESSION_ID))
    encoder, versions = AppendEncoder(SESSION_ID), list[int]()
    for number in range(40):
        append = Append(Handler())
        assert encode_text(
            append, 3 + number, [AppendText(BEGAN + number * LIST_TOUCH / 10, "s1", "x")], state, encoder
        )
        if append.session is not None:
            assert (append.session.user_id, append.session.writer) == ("u1", "w1")
            versions.append(append.session.version)
    assert versions == [3, 13, 23, 33]


@given(st.datetimes(timezones=st.just(UTC)), any_text, any_text)
def test_a_text_delta_that_is_written_without_its_model_is_the_same(at: datetime, step_id: str, text: str) -> None:
    assert text_delta_json(at, step_id, text) == e.TextDelta(at=at, step_id=step_id, text=text).to_json()


# Reading


@pytest.fixture
def store(settings: Settings) -> Iterator[EventStore]:
    async def prepared() -> EventStore:
        opened = EventStore(settings.database_url or "", schema=settings.database_schema)
        await opened.schema.prepare()
        return opened

    opened = asyncio.run(prepared())
    yield opened
    opened._datastore.close()


def stored(store: EventStore, rows: Iterable[tuple[str, bytes]]) -> UUID:
    """A session of these topics and bodies."""
    session_id = uuid4()
    numbered = enumerate(rows, 1)
    store.recorder.insert_events([StoredEvent(session_id, number, *row) for number, row in numbered])
    return session_id


def row(event: e.SessionEvent) -> tuple[str, bytes]:
    return event.topic, event.to_json()


def folded(store: EventStore, projector: Projector, page: int = 1_000) -> Projector:
    while store.events._fold(projector, MAX_POSITION, page) == page:
        pass
    return projector


def test_pages_fold_as_their_events_do(store: EventStore) -> None:
    @given(histories, st.integers(0, 10), st.integers(1, 30))
    def check(history: list[RecordedEvent], seen: int, page: int) -> None:
        session_id = stored(store, [row(recorded.event) for recorded in history])
        history = store.events._read(session_id, 0, MAX_POSITION, MAX_POSITION)
        by_events = Projector(session_id).apply_all(history)
        by_pages = folded(store, Projector(session_id).apply_all(history[:seen]), page)

        assert by_pages.version == len(history)
        assert by_pages.head().to_json() == by_events.head().to_json()
        assert by_pages.pages() == by_events.pages()

    check()


TEXTS = ['},"step_id":"s1","text":"x', '"', "\\", ",", "\n", "", "Café \U0001f600", "\0", "}", "]", "\ud800", "back"]


@pytest.mark.parametrize("step_id", ["s1", ',"text":', "two\nlines", "é"])
def test_texts_are_what_was_sent_whatever_is_in_them(store: EventStore, step_id: str) -> None:
    began = e.SessionStarted(at=BEGAN, user_id="u1"), e.CompletionStarted(at=BEGAN, step_id=step_id)
    deltas = [e.TextDelta(at=BEGAN, step_id=step_id, text=text) for text in TEXTS]
    session_id = stored(store, map(row, [*began, *deltas]))

    view = folded(store, Projector(session_id), 5).view()

    assert view.turns[0].steps[0].message.content == "".join(TEXTS)


def test_an_event_that_cannot_be_read_is_said_with_all_before_it_folded_in(store: EventStore) -> None:
    began = row(e.SessionStarted(at=BEGAN, user_id="u1")), row(e.CompletionStarted(at=BEGAN, step_id="s1"))
    delta = row(e.TextDelta(at=BEGAN, step_id="s1", text="so far"))
    session_id = stored(store, [*began, delta, ("text-delta.v1", b"{}"), delta])
    projector = Projector(session_id)

    with pytest.raises(UnreadableEventError, match=r"a stored text-delta\.v1 does not parse"):
        folded(store, projector)


@pytest.mark.parametrize("body", [b'{\n"at":"2026-01-01T00:00:00Z",\n"step_id":"s1",\n"text":"so far"}'])
def test_a_body_of_another_shape_is_read_as_an_event(store: EventStore, body: bytes) -> None:
    began = row(e.SessionStarted(at=BEGAN, user_id="u1")), row(e.CompletionStarted(at=BEGAN, step_id="s1"))
    session_id = stored(store, [*began, ("text-delta.v1", body), ("text-delta.v1", body)])

    assert folded(store, Projector(session_id)).view().turns[0].steps[0].message.content == "so farso far"


@pytest.mark.long
def test_a_page_too_large_for_one_value_is_read_as_rows(store: EventStore, settings: Settings) -> None:
    began = row(e.SessionStarted(at=BEGAN, user_id="u1")), row(e.CompletionStarted(at=BEGAN, step_id="s1"))
    session_id = stored(store, began)
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute(
            f"""insert into {settings.database_schema}.turnlog_events
            select %s, number, 'text-delta.v1', convert_to(
                '{{"at":"2026-01-01T00:00:00Z","step_id":"s1","text":"' || repeat('x', 16000000) || '"}}', 'UTF8'
            ), 1000 + number from generate_series(3, 72) as number""".encode(),
            (session_id,),
        )

    assert len(str(folded(store, Projector(session_id)).view().turns[0].steps[0].message.content)) == 70 * 16_000_000
