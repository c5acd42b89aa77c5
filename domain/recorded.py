"""A recorded event: an event with its positions in the log."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from turnlog.domain.events import SessionEvent


class RecordedEvent(NamedTuple):
    """`position` is that in the session: 1, 2, 3, without a gap. `log_position` is that in the whole log, from 1 on; a
    batch that was refused leaves a gap there."""

    session_id: UUID
    position: int
    log_position: int
    event: SessionEvent

    @property
    def topic(self) -> str:
        """The stored name of the event's type, such as `text-delta.v1`."""
        return self.event.topic
