"""A recorded event: an event with its positions in the log."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from uuid import UUID

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.events import SessionEvent
from turnlog.domain.inputs import checked_count
from turnlog.domain.limits import MAX_COUNTER
from turnlog.domain.quoting import quoted

MAX_CURSOR_LENGTH = 40
_CURSOR = re.compile(r"([0-9]+)-([0-9a-f]+)")


class Position(NamedTuple):
    """An event of a session, as a reader remembers it: by its position and its commit id (see RecordedEvent)."""

    position: int
    commit_id: int


class Cursor(NamedTuple):
    """Where a reader goes on: after an event. As a text it is what a client keeps, such as `17-3fa9c2`. Without the
    commit id any event at the position counts as the one that was seen."""

    position: int
    commit_id: int | None = None

    @classmethod
    def of(cls, value: Any) -> Cursor:
        """The cursor of a position, or of a text. Raises InvalidInputError for anything else."""
        position, commit_id = _parts(value) if isinstance(value, str) else (checked_count(value, "after"), None)
        if not 0 <= position <= MAX_COUNTER:
            raise InvalidInputError("after", f"{quoted(value)} is no position and no cursor")
        return cls(position, commit_id)

    @property
    def text(self) -> str:
        """What a client keeps."""
        return f"{self.position}-{self.commit_id or 0:x}"


def _parts(text: str) -> tuple[int, int]:
    """The position and the commit id of a cursor's text; a position below 0 where it is none."""
    found = _CURSOR.fullmatch(text) if len(text) <= MAX_CURSOR_LENGTH else None
    return (-1, 0) if found is None else (int(found[1]), int(found[2], 16))


class RecordedEvent(NamedTuple):
    """`position` is that in the session: 1, 2, 3, without a gap. `log_position` is that in the whole log, from 1 on; a
    batch that was refused leaves a gap there.

    `commit_id` is a random number of the commit that stored the event. Where the log went back, as after a restore or a
    failover, another event may have the same positions, but none has the same commit id. It is 0 in events that were
    stored by versions without it.
    """

    session_id: UUID
    position: int
    log_position: int
    event: SessionEvent
    commit_id: int = 0

    @property
    def cursor(self) -> str:
        """What a client keeps to go on after this event. It names the event, also where the log went back."""
        return f"{self.position}-{self.commit_id:x}"  # as in Cursor, for each delta

    @property
    def topic(self) -> str:
        """The stored name of the event's type, such as `text-delta.v1`."""
        return self.event.topic
