"""Pages of events as Postgres packs them: folded, they are what their events are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import BEGAN, histories
from turnlog.domain import events as e
from turnlog.domain.errors import UnreadableEventError
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.store import EventStore
from turnlog.projections.projector import Projector


@pytest.fixture
def store(settings: Settings) -> Iterator[EventStore]:
    opened = EventStore(settings.database_url or "", schema=settings.database_schema)
    opened.recorder.create_table()
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
    while store._fold(projector, projector.version, page) == page:
        pass
    return projector


def test_pages_fold_as_their_events_do(store: EventStore) -> None:
    @given(histories, st.integers(0, 10), st.integers(1, 30))
    def check(history: list[RecordedEvent], seen: int, page: int) -> None:
        session_id = stored(store, [row(recorded.event) for recorded in history])
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
