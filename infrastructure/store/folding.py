"""Folding rows: what `Projector.apply` makes of their events, without making an event of each text delta."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from pydantic_core import from_json

from turnlog.domain.events import TextDelta
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import json_text
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.projections.projector import Projector

Row = tuple[int, int, str, bytes]
"""Position, log position, topic and state: the columns of the statement `read_session`."""


def recorded_event(session_id: UUID, row: Row, mapper: EventMapper) -> RecordedEvent:
    """The event of a row. Raises UnreadableEventError."""
    position, log_position, topic, state = row
    return RecordedEvent(session_id, position, log_position, mapper.event(topic, state))


def fold_rows(projector: Projector, rows: Iterable[Row], mapper: EventMapper) -> None:
    """Folds the rows in, in order. Raises UnreadableEventError, and PagesNeeded as the projector does."""
    for topic, group in groupby(rows, itemgetter(2)):
        run = list(group)
        folded = _fold_texts(projector, run) if topic == TextDelta.topic else 0
        for row in run[folded:]:
            projector.apply(recorded_event(projector.session_id, row, mapper))


def _fold_texts(projector: Projector, rows: Sequence[Row]) -> int:
    """Folds text deltas in. Returns how many, up to the first one that has to be read as an event."""
    done = 0
    while done < len(rows):
        try:
            first = TextDelta.from_json(rows[done][3])
            bodies = _text_bodies(rows[done:], first.step_id)
            texts = from_json(b"[" + b",".join(bodies) + b"]", cache_strings=False)
        except ValueError:
            break  # lone surrogates are not JSON
        if not texts:
            break
        last = rows[done + len(texts) - 1]
        projector.apply_texts(rows[done][0], first.step_id, texts, TextDelta.from_json(last[3]).at)
        done += len(texts)
    return done


def _text_bodies(rows: Iterable[Row], step_id: str) -> list[bytes]:
    """The texts, as they stand in the bodies, of the first rows, as far as they are of this step.

    They are cut out and parsed together: a dictionary for each body would cost more than all the rest of the fold.
    """
    before = f'","step_id":{json_text(step_id)},"text":'.encode("utf-8", "surrogatepass")
    bodies: list[bytes] = []
    for row in rows:
        body = row[3].partition(before)[2]
        if not body:
            break
        bodies.append(body[:-1])
    return bodies
