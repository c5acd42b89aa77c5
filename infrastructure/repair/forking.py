"""A fork: a new session with copies of another one's events."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from turnlog.domain.commands import AssignOwner, Command, MarkFork
from turnlog.domain.events import OwnerAssigned, SessionEvent, SessionStarted
from turnlog.domain.state import initial_state
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.ids import new_session_id
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.read.views import StoredState
from turnlog.infrastructure.repair.whole_append import whole_append

FORK_PAGE_EVENTS = 1_000
"""Events that are held at once."""


async def make_fork(
    parts: LogParts, source: UUID, user_id: str | None, version: int, session_id: UUID | None = None
) -> Aggregate:
    """A new session with copies of the events up to this position, and with this owner. It is whole or not there."""
    made = session_id or new_session_id()
    owned = False
    async with whole_append(parts, made, StoredState(initial_state(made), 0, 0)) as pieces:
        async for page in parts.store.events.pages(source, upto=version, size=FORK_PAGE_EVENTS):
            events = [recorded.event for recorded in page]
            owned = owned or _is_owned(events)
            await pieces.copy(events)
        commands: list[Command] = [MarkFork(now(), source, version)]
        if user_id is not None and not owned:
            commands.append(AssignOwner(now(), user_id))
        await pieces.execute(commands)
    return parts.aggregate(made)


def _is_owned(events: Sequence[SessionEvent]) -> bool:
    return any(isinstance(event, SessionStarted | OwnerAssigned) and event.user_id is not None for event in events)
