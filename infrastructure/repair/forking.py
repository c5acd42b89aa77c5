"""A fork: a new session with copies of another one's events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID

from turnlog.domain.commands import AssignOwner, Command, MarkFork
from turnlog.domain.events import OwnerAssigned, SessionStarted
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.ids import new_session_id
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.repair.whole_append import whole_append
from turnlog.infrastructure.store.encoding import Copied
from turnlog.infrastructure.tasks import cancel_and_wait, started
from turnlog.projections.stored_state import StoredState

FORK_PAGE_EVENTS = 2_000
"""Events that are read at once. Two such pages are held: one is read while the one before it is stored."""

ForkProgress = Callable[[int, int], None]
"""Called with the number of events that are copied, and with how many there are."""


async def make_fork(
    parts: LogParts,
    source: UUID,
    user_id: str | None,
    version: int,
    session_id: UUID | None = None,
    progress: ForkProgress = lambda *_: None,
) -> Aggregate:
    """A new session with copies of the events up to this position, and with this owner. It is whole or not there."""
    made = session_id or new_session_id()
    owned = False
    async with whole_append(parts, made, StoredState.before_all(made)) as pieces:
        async for page in _ahead(parts.store.events.copied(source, version, FORK_PAGE_EVENTS)):
            owned = owned or _is_owned(page)
            await pieces.copy_stored(page)
            progress(pieces.version, version)
        commands: list[Command] = [MarkFork(now(), source, version)]
        if user_id is not None and not owned:
            commands.append(AssignOwner(now(), user_id))
        await pieces.execute(commands)
    aggregate = parts.aggregate(made)
    aggregate.begin_at(pieces.stored())
    return aggregate


async def _ahead(pages: AsyncIterator[list[Copied]]) -> AsyncIterator[list[Copied]]:
    """The pages, of which the next one is read while the caller works on one."""
    reading = started(_next(pages))
    try:
        while page := await reading:
            reading = started(_next(pages))
            yield page
    finally:
        await cancel_and_wait(reading)


async def _next(pages: AsyncIterator[list[Copied]]) -> list[Copied] | None:
    return await anext(pages, None)


def _is_owned(page: Sequence[Copied]) -> bool:
    events = (copied.event for copied in page)
    return any(isinstance(event, SessionStarted | OwnerAssigned) and event.user_id is not None for event in events)
