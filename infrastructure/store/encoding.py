"""From decided events to what is stored of them: their rows, their dedup keys, and the session's line in the lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from turnlog.domain.events import FRAGMENTS, SessionEvent
from turnlog.domain.evolve import evolve
from turnlog.domain.state import Active, Deleted, SessionState
from turnlog.domain.turns import turn_status, unfinished_turn
from turnlog.infrastructure.store.appends import Append
from turnlog.infrastructure.store.dedup_keys import keys_of
from turnlog.infrastructure.store.rows import KeyRow, SessionRow, TurnColumns

LIST_TOUCH = timedelta(seconds=1)
"""While only fragments come, the session's line in the lists is written this often."""
_NEVER = datetime.min.replace(tzinfo=UTC)


class Decided(NamedTuple):
    """An event, and the state after it. `is_copy`: it is another session's event, with ids that were accepted there."""

    event: SessionEvent
    state: SessionState
    is_copy: bool = False


class Copied(NamedTuple):
    """An event of another session, as it is stored there. `event` is None for some of those that change no state and
    leave no key."""

    topic: str
    body: bytes
    event: SessionEvent | None


class AppendEncoder:
    """Encodes the appends of one session. It does no I/O. `line_at` is when the session's line was written last, and
    `line_due` when a fragment writes it again."""

    def __init__(self, session_id: UUID) -> None:
        self._session_id = session_id
        self.line_at = self.line_due = _NEVER

    def encode(self, append: Append, position: int, before: SessionState, decided: Sequence[Decided]) -> None:
        """Puts the events into the append, the first of them at `position`. `before` is the state they began on."""
        if not decided:
            return
        rows, keys = list[Any](), list[KeyRow]()
        only_fragments = True
        for event, _, is_copy in decided:
            body = event.to_json()
            rows += (event.topic, body)
            append.size += len(body)
            if not isinstance(event, FRAGMENTS):
                only_fragments = False
                keys += (
                    KeyRow(self._session_id, key, value, once and not is_copy) for key, value, once in keys_of(event)
                )
        # The last one of each key that may be left again.
        append.rows, append.keys = tuple(rows), tuple({(row.key, row.once): row for row in keys}.values())
        append.position, append.count, append.is_patient = position, len(decided), only_fragments
        event, state, _ = decided[-1]
        if not only_fragments or not self.line_at <= event.at < self.line_due:  # the clock may have been set back
            self.add_line(append, before, state, event.at)

    def copy(self, append: Append, position: int, before: SessionState, copied: Sequence[Copied]) -> SessionState:
        """Puts another session's events into the append as they are stored, the first of them at `position`. `before`
        is the state they begin on. Returns the state after them."""
        state, rows, keys, at = before, list[Any](), list[KeyRow](), _NEVER
        for topic, body, event in copied:
            rows += (topic, body)
            append.size += len(body)
            if event is not None:
                state, at = evolve(state, event), event.at
                keys += (KeyRow(self._session_id, key, value) for key, value, _ in keys_of(event))
        append.rows, append.keys = tuple(rows), tuple({row.key: row for row in keys}.values())
        append.position, append.count = position, len(copied)
        self.add_line(append, before, state, at)
        return state

    def add_line(self, append: Append, before: SessionState, state: SessionState, at: datetime) -> None:
        """Puts the session's line into the append, as it is after the append's events; `at` is the time of the last."""
        self.line_at, self.line_due = at, at + LIST_TOUCH
        known = state if isinstance(state, Active) else before
        if not isinstance(known, Active):
            return
        is_deleted = isinstance(state, Deleted)
        append.session = SessionRow(
            session_id=self._session_id,
            user_id=known.user_id,
            title=None if known.title is None else known.title.encode("utf-8", "surrogatepass"),
            started_at=known.started_at,
            updated_at=at,
            version=append.position + append.count - 1,
            deleted=is_deleted,
            writer=None if is_deleted else _writer_of(known),
            turn=TurnColumns() if is_deleted else turn_columns(known),
        )


def turn_columns(state: Active) -> TurnColumns:
    """What the session's line says of its turns."""
    unfinished = unfinished_turn(state)
    since = state.turn.since if state.turn is not None and unfinished is not None else None
    return TurnColumns(turn_status(state), unfinished, since, state.awaited.waiting)


def _writer_of(state: Active) -> str | None:
    """The writer of the turn in hand, or else of the open step, the latest one of several. None where neither is."""
    if state.in_hand is not None and state.in_hand.writer:
        return state.in_hand.writer
    return next((step.writer or None for step in reversed(state.open_steps.values())), None)
