"""A recorded event: an event with its positions in the log."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from turnlog.domain.events import SessionEvent


class Position(NamedTuple):
    """An event of a session, as a reader remembers it: by its position and its commit id (see RecordedEvent)."""

    position: int
    commit_id: int


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
    def topic(self) -> str:
        """The stored name of the event's type, such as `text-delta.v1`."""
        return self.event.topic
