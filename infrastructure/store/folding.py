"""Folding rows: what `Projector.apply` makes of their events, without making an event of each text delta."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter

from pydantic_core import from_json

from turnlog.domain.events import TextDelta
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import json_text
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.projections.projector import Projector

Row = tuple[str, bytes]
"""Topic and state: the columns of the statement `fold_session`. Where a row stands follows from the row before it, for
positions have no gap; to fetch that too would cost as much as the fold."""


def fold_rows(projector: Projector, first: int, rows: Iterable[Row], mapper: EventMapper) -> None:
    """Folds the rows in, which stand at the positions from `first` on. Raises UnreadableEventError, and PagesNeeded as
    the projector does."""
    position = first
    for topic, group in groupby(rows, itemgetter(0)):
        run = list(group)
        folded = _fold_texts(projector, position, run) if topic == TextDelta.topic else 0
        for number, (_, state) in enumerate(run[folded:], position + folded):
            projector.apply(RecordedEvent(projector.session_id, number, 0, mapper.event(topic, state)))
        position += len(run)


def _fold_texts(projector: Projector, position: int, rows: Sequence[Row]) -> int:
    """Folds text deltas in. Returns how many, up to the first one that has to be read as an event."""
    done = 0
    while done < len(rows):
        try:
            first = TextDelta.from_json(rows[done][1])
            bodies = _text_bodies(rows[done:], first.step_id)
            texts = from_json(b"[" + b",".join(bodies) + b"]", cache_strings=False)
        except ValueError:
            break  # lone surrogates are not JSON
        if not texts:
            break
        last = TextDelta.from_json(rows[done + len(texts) - 1][1])
        projector.apply_texts(position + done, first.step_id, texts, last.at)
        done += len(texts)
    return done


def _text_bodies(rows: Iterable[Row], step_id: str) -> list[bytes]:
    """The texts, as they stand in the bodies, of the first rows, as far as they are of this step.

    They are cut out and parsed together: a dictionary for each body would cost more than all the rest of the fold.
    """
    before = f'","step_id":{json_text(step_id)},"text":'.encode("utf-8", "surrogatepass")
    bodies: list[bytes] = []
    for row in rows:
        body = row[1].partition(before)[2]
        if not body:
            break
        bodies.append(body[:-1])
    return bodies
