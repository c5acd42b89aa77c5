"""A recorded event: the event with the places it took in the log."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from turnlog.domain.events import SessionEvent


class RecordedEvent(NamedTuple):
    """`position` counts in the session, `log_position` in the whole log; both start at 1 and have no gap."""

    session_id: UUID
    position: int
    log_position: int
    event: SessionEvent

    @property
    def topic(self) -> str:
        """The stored name of the event's type, such as `text-delta.v1`."""
        return self.event.topic
