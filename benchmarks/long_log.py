"""A session as long as one likes, written by COPY as if it had been told: in seconds where handlers take hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.workload import Workload
from turnlog.domain.events import CompletionFinished, CompletionStarted, MessageAdded, SessionEvent, SessionStarted
from turnlog.infrastructure.store.dedup_keys import keys_of
from turnlog.infrastructure.store.text_lane import text_delta_json

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_EVENTS = SQL(
    "copy {}.turnlog_events (originator_id, originator_version, topic, state, notification_id, commit_id)"
    " from stdin (format binary)"
)
_KEYS = SQL("copy {}.turnlog_keys (session_id, key, value) from stdin (format binary)")
_LINE = SQL("""
insert into {}.turnlog_sessions
    (session_id, user_id, started_at, updated_at, version, deleted, turn_status, waiting_calls)
values (%s, %s, %s, %s, %s, false, 'finished', 0)
""")
_POSITION = SQL("select coalesce(max(notification_id), 0) from {}.turnlog_events")
_SEQUENCE = SQL("select setval(%s::regclass, %s)")

Row = tuple[str, bytes, SessionEvent | None]
"""The topic and the body of an event, and the event itself unless it is a text."""


def write_long_session(
    url: str, session_id: UUID, user_id: str, turns: int, *, deltas: int = 5, schema: str = "public"
) -> int:
    """Stores a session of so many turns, of which nothing is kept or cached. Returns the position of its last event.
    The schema must be there, and nobody else may append meanwhile."""
    name, keys, version = Identifier(schema), list[tuple[bytes, str]](), 0
    with psycopg.connect(url) as connection:
        row = connection.execute(_POSITION.format(name)).fetchone()
        before = int(row[0]) if row else 0
        with connection.cursor() as cursor, cursor.copy(_EVENTS.format(name)) as copy:
            copy.set_types(("uuid", "int8", "text", "bytea", "int8", "int8"))
            for version, (topic, body, event) in enumerate(_rows(user_id, turns, deltas), 1):
                copy.write_row((session_id, version, topic, body, before + version, 1 + version // 10))
                keys += ((key.key, key.value) for key in (keys_of(event) if event is not None else ()))
        with connection.cursor() as cursor, cursor.copy(_KEYS.format(name)) as copy:
            copy.set_types(("uuid", "bytea", "text"))
            for key, value in keys:
                copy.write_row((session_id, key, value))
        ended = _BEGAN + timedelta(seconds=turns)
        connection.execute(_LINE.format(name), (session_id, user_id, _BEGAN, ended, version))
        connection.execute(_SEQUENCE, (f'"{schema}".turnlog_events_positions', before + version))
    return version


def question(number: int) -> str:
    """What the user says in the n-th turn."""
    return f"question {number}: {_WORKLOAD.text(number, 0, 10)}"


def answer(number: int, deltas: int) -> Sequence[str]:
    """What the model answers."""
    return [_WORKLOAD.text(number, each, each + _WORDS) for each in range(0, deltas * _WORDS, _WORDS)]


_WORKLOAD, _WORDS = Workload(), 50


def _rows(user_id: str, turns: int, deltas: int) -> Iterator[Row]:
    yield _row(SessionStarted(at=_BEGAN, user_id=user_id, title=None, metadata={}))
    for number in range(turns):
        at, step_id = _BEGAN + timedelta(seconds=number), f"step-{number}"
        yield _row(MessageAdded(at=at, message_id=f"m-{number}", role="user", content=question(number)))
        yield _row(CompletionStarted(at=at, step_id=step_id, model="bench"))
        for text in answer(number, deltas):
            yield "text-delta.v1", text_delta_json(at, step_id, text), None
        yield _row(CompletionFinished(at=at, step_id=step_id, finish_reason="stop"))


def _row(event: SessionEvent) -> Row:
    return event.topic, event.to_json(), event
