"""Folding a page of events: what `Projector.apply` makes of them, without making an event of each text delta.

Nearly all that is folded are text deltas. The statement `fold_session` packs a whole page into one value, so that
neither a row nor a body of each has to be made here: a run of text deltas as it stands in the page becomes a JSON list
of their texts by one replacement, and is parsed at once.
"""

from __future__ import annotations

from pydantic_core import from_json

from turnlog.domain.events import TextDelta
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.projections.projector import Projector

_STEP, _TEXT = b'"step_id":', b',"text":'


def fold_page(projector: Projector, first: int, page: bytes, last: bytes, mapper: EventMapper) -> None:
    """Folds a page in, whose events stand at the positions from `first` on; `last` is the last one's body.

    Raises ValueError or UnreadableEventError at what cannot be read in this way, with all before it folded in: their
    events may say more. Raises PagesNeeded as the projector does.
    """
    position = first
    runs_and_events = page.split(b"\n")  # no JSON has a line break in it
    for number, part in enumerate(runs_and_events):
        if number % 2:
            topic, _, body = part.partition(b" ")
            _apply(projector, position, topic.decode(), body, mapper)
            position += 1
        elif run := part.strip(b","):
            step_id, texts = _texts(run)
            position += len(texts)
            is_last = number == len(runs_and_events) - 1
            # Only the page's last event says when the session was last updated.
            projector.apply_texts(position - len(texts), step_id, texts[:-1] if is_last else texts)
            if is_last:
                _apply(projector, position - 1, TextDelta.topic, last, mapper)


def _apply(projector: Projector, position: int, topic: str, body: bytes, mapper: EventMapper) -> None:
    projector.apply(RecordedEvent(projector.session_id, position, 0, mapper.event(topic, body)))


def _texts(run: bytes) -> tuple[str, list[str]]:
    """The step of a run of text deltas, and their texts. Raises ValueError where they are of several steps, or hold
    lone surrogates, which are not JSON."""
    before, _, _ = run.partition(_TEXT)
    if not before.startswith(_STEP):
        raise ValueError("not a text delta")
    before += _TEXT
    # Within a text there is no quotation mark without a backslash: what is replaced can only lie between two.
    texts = run[len(before) : -1].replace(b"}," + before, b",")
    return from_json(before[len(_STEP) : -len(_TEXT)]), from_json(b"[" + texts + b"]", cache_strings=False)
