"""The fast lane of text deltas. Nearly all commands and events are text deltas, and this module alone knows how to
write and to read them without making a model of each.

* `encode_text` does in one go what `decide`, `evolve` and `AppendEncoder.encode` do for an AppendText.
* `fold_page` does what `Projector.apply` does, for a page of events that the statement `fold_session` in `queries.sql`
  has packed into one value. That statement cuts each text delta off at its first comma. It relies on the shape that
  `text_delta_json` writes, `{"at":...,"step_id":...,"text":...}` with no comma in the time. Bodies of another shape are
  told apart here, and are read as events.

tests/store/test_text_lane.py holds both to the ordinary way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from turnlog.domain.events import TextDelta
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import Active, SessionState
from turnlog.domain.step_appends import AppendText
from turnlog.infrastructure.store.appends import Append
from turnlog.infrastructure.store.encoding import AppendEncoder

if TYPE_CHECKING:
    from turnlog.infrastructure.store.mapper import EventMapper
    from turnlog.projections.projector import Projector

_TOPIC = TextDelta.topic
_STEP, _TEXT = b'"step_id":', b',"text":'

# Writing


def encode_text(
    append: Append, position: int, commands: Sequence[Any], state: SessionState, encoder: AppendEncoder
) -> bool:
    """Encodes the append at `position` if its commands are one AppendText for which `decide` gives one TextDelta: that
    event changes no state and has no key. False, with nothing done, if they are anything else."""
    if len(commands) != 1:
        return False
    command = commands[0]
    if not isinstance(command, AppendText) or not isinstance(state, Active) or not command.text:
        return False
    if command.step_id not in state.open_steps:
        return False
    body = text_delta_json(command.at, command.step_id, command.text)
    append.rows = (_TOPIC, body)
    append.size = len(body)
    append.count = 1
    append.is_patient = True
    append.position = position
    if not encoder.line_at <= command.at < encoder.line_due:
        encoder.add_line(append, state, state, command.at)
    return True


def text_delta_json(at: datetime, step_id: str, text: str) -> bytes:
    """What `TextDelta(...).to_json()` gives. Making and dumping the model would be a third of what a delta costs."""
    # `encode_basestring` writes a text as pydantic does; a lone surrogate stays, and is not UTF-8.
    written = f'{{"at":{_time_json(at)},"step_id":{encode_basestring(step_id)},"text":{encode_basestring(text)}}}'
    return written.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=8)
def _time_json(at: datetime) -> str:
    """A time as pydantic writes it, quotes included. Cached, because the events of one moment share it."""
    return to_json(at).decode()


# Reading


def fold_page(projector: Projector, first: int, page: bytes, last: bytes, mapper: EventMapper) -> None:
    """Folds a packed page into the projector. The page's events are at the positions from `first` on, and `last` is the
    body of the last one.

    The page has text deltas as they are cut, with commas between them, and every other event in a line of its own, its
    topic before its body. A run of text deltas becomes a JSON list of their texts by one replacement, and is parsed at
    once.

    Raises ValueError or UnreadableEventError at what cannot be read in this way, with all before it folded in: reading
    the events themselves may say more. Raises PagesNeeded as the projector does.
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
                _apply(projector, position - 1, _TOPIC, last, mapper)


def _apply(projector: Projector, position: int, topic: str, body: bytes, mapper: EventMapper) -> None:
    projector.apply(RecordedEvent(projector.session_id, position, 0, mapper.event(topic, body)))


def _texts(run: bytes) -> tuple[str, list[str]]:
    """The step of a run of text deltas, and their texts. Raises ValueError where they are of several steps, or hold
    lone surrogates, which are not JSON."""
    before, _, _ = run.partition(_TEXT)
    if not before.startswith(_STEP):
        raise ValueError("not a text delta")
    before += _TEXT
    # Within a text there is no quotation mark without a backslash: what is replaced can only lie between two texts.
    texts = run[len(before) : -1].replace(b"}," + before, b",")
    return from_json(before[len(_STEP) : -len(_TEXT)]), from_json(b"[" + texts + b"]", cache_strings=False)
