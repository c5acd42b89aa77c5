"""A fork: a new session with copies of another one's events."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from turnlog.domain.commands import AssignOwner, Command, DeleteSession, MarkFork
from turnlog.domain.events import OwnerAssigned, SessionEvent, SessionStarted
from turnlog.domain.state import Active
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.log_parts import LogParts

FORK_APPEND_EVENTS = 10_000
"""Events that are stored together or not at all. A fork of more events is copied in parts, in bounded memory."""


async def make_fork(parts: LogParts, source: Aggregate, version: int) -> Aggregate:
    """A new session with copies of the events up to this position, and the same owner. It is deleted if that fails."""
    made = parts.aggregate(uuid4())
    made.begin_empty()
    try:
        await _copy(parts, source, made, version)
    except BaseException:
        if made.version:
            parts.background.spawn(_given_up(made))
        raise
    return made


async def _copy(parts: LogParts, source: Aggregate, made: Aggregate, version: int) -> None:
    page, owned = list[SessionEvent](), False
    async for following in parts.store.events.pages(source.session_id, upto=version, size=FORK_APPEND_EVENTS):
        if page:
            await made.adopt(page)
        page = [event.event for event in following]
        owned = owned or _is_owned(page)
    commands: list[Command] = [MarkFork(now(), source.session_id, version)]
    state = source.state
    if isinstance(state, Active) and state.user_id is not None and not owned:
        commands.append(AssignOwner(now(), state.user_id))
    await made.adopt(page, *commands)


def _is_owned(events: Sequence[SessionEvent]) -> bool:
    return any(isinstance(event, SessionStarted | OwnerAssigned) and event.user_id is not None for event in events)


async def _given_up(made: Aggregate) -> None:
    await made.execute(DeleteSession(now()))
