"""Packed pages of events, as the statement `fold_session` makes them, and as nobody makes them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tests.fuzz.folding import AT, ID, MAPPER
from tests.fuzz.source import TEXTS, Source
from turnlog.domain import events as e
from turnlog.domain.errors import UnreadableEventError
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.store.text_lane import fold_page
from turnlog.projections.projector import Projector

Row = tuple[str, bytes]


def text_lane(data: bytes) -> None:
    """Pages of text deltas and other events fold as the events themselves do, or are refused; pages of anything are
    refused or folded."""
    source = Source(data)
    if source.chance(3):
        _fold(b'"step_id":"s1","text":' + source.rest(), b"{}")
        return
    history = [e.SessionStarted(at=AT, user_id="u1"), *(_event(source) for _ in range(source.byte() % 20))]
    rows = [(event.topic, event.to_json()) for event in history]
    folded = _fold(packed(rows), rows[-1][1])
    if folded is not None:
        expected = Projector(ID).apply_all(RecordedEvent(ID, at, 0, event) for at, event in enumerate(history, 1))
        assert folded.head().to_json() == expected.head().to_json()


def _event(source: Source) -> Any:
    step_id = source.pick(("s1", "s1", "s2", ',"text":', "é"))
    if source.chance(4):
        return e.CompletionStarted(at=AT, step_id=step_id)
    if source.chance(6):
        return e.SessionTitled(at=AT, title=source.pick(TEXTS))
    if source.chance(6):
        return e.CompletionFinished(at=AT, step_id=step_id, finish_reason=None)
    return e.TextDelta(at=AT, step_id=step_id, text=source.text())


def packed(rows: Sequence[Row]) -> bytes:
    """The page of these rows."""
    parts = []
    for topic, body in rows:
        if topic == e.TextDelta.topic:
            parts.append(body[body.index(b",") + 1 :])
        else:
            parts.append(b"\n%b %b\n" % (topic.encode(), body))
    return b",".join(parts)


def _fold(page: bytes, last: bytes) -> Projector | None:
    """The fold of a page; None if it was refused."""
    projector = Projector(ID)
    with suppress(ValueError, UnreadableEventError):
        fold_page(projector, 1, page, last, MAPPER)
        return projector
    return None
