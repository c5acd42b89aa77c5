"""Reading: what is cached or kept, and the tail of the log after it. Right whether or not a cache is there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.evolve import evolve
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import SessionState, initial_state
from turnlog.infrastructure.background import Background
from turnlog.infrastructure.cache import ViewCache, restore
from turnlog.projections.projector import Projector, SessionHead

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore

logger = logging.getLogger("turnlog")

TAIL_TO_KEEP = 256
"""So many events after what is kept make it worth keeping again, even in the middle of a step."""


class Views:
    """Loads projections, and keeps them where the next reader finds them."""

    def __init__(self, store: EventStore, cache: ViewCache, background: Background) -> None:
        self._store = store
        self._cache = cache
        self._background = background

    async def load(self, session_id: UUID) -> Projector:
        """The projection as of now. For an unknown session it has version 0."""
        cached = await self._cache.get(session_id)
        projector = cached or await self._kept(session_id) or Projector(session_id)
        base, closed = projector.version, projector.closed_turns
        tail = await self._tail(session_id, base)
        if tail is None:
            await self.forget(session_id)
            return Projector(session_id).apply_all(await self._store.read(session_id))
        projector.apply_all(tail)
        if projector.exists:
            self._keep(projector, base, cached_at=base if cached else 0, closed=closed)
        return projector

    async def load_state(self, session_id: UUID) -> tuple[SessionState, int]:
        """What to decide on, and the position that it stands for: no turn is read for it."""
        head = await self._head(session_id)
        if head is not None:
            tail = await self._tail(session_id, head.version)
            if tail is not None:
                return self._evolved(head.state, head.version, tail)
            await self.forget(session_id)
        return self._evolved(initial_state(session_id), 0, await self._store.read(session_id))

    async def catch_up(self, state: SessionState, version: int) -> tuple[SessionState, int]:
        """The state and position after what others have appended since `version`."""
        return self._evolved(state, version, await self._store.read(state.session_id, after=version))

    async def _head(self, session_id: UUID) -> SessionHead | None:
        cached = _parsed_head(await self._cache.get_head(session_id), session_id)
        return cached or _parsed_head(await self._store.load_head(session_id), session_id)

    @staticmethod
    def _evolved(state: SessionState, version: int, tail: list[RecordedEvent]) -> tuple[SessionState, int]:
        for recorded in tail:
            state = evolve(state, recorded.event)
        return state, tail[-1].position if tail else version

    async def forget(self, session_id: UUID) -> None:
        """Drops what is cached and kept of the session."""
        await self._cache.drop(session_id)
        await self._store.forget_kept(session_id)

    async def rebuild(self, session_id: UUID) -> None:
        """Folds the view anew from the events, and keeps it."""
        await self.forget(session_id)
        projector = await self.load(session_id)
        if projector.exists:
            await self._store.keep(projector)

    async def _kept(self, session_id: UUID) -> Projector | None:
        kept = await self._store.load_kept(session_id)
        if kept is None:
            return None
        try:
            return restore(*kept, session_id)
        except ValueError:
            logger.warning("the kept view of session %s does not parse and is folded anew", session_id)
            await self._store.forget_kept(session_id)
            return None

    async def _tail(self, session_id: UUID, after: int) -> list[RecordedEvent] | None:
        """The events after a position; None if the log does not reach it, so that what is kept is not this log's."""
        if after == 0:
            return await self._store.read(session_id)
        events = await self._store.read(session_id, after=after - 1)
        return events[1:] if events and events[0].position == after else None

    def _keep(self, projector: Projector, base: int, cached_at: int, closed: int) -> None:
        fresh = projector.version - base
        worth = fresh >= TAIL_TO_KEEP or (not projector.is_streaming and (fresh or not cached_at))
        if worth and (not self._cache.is_down):
            self._background.spawn(self._cache.put(projector, cached_at))
        if fresh >= TAIL_TO_KEEP or projector.closed_turns > closed:
            self._background.spawn(self._store.keep(projector))


def _parsed_head(head: bytes | None, session_id: UUID) -> SessionHead | None:
    if head is None:
        return None
    try:
        parsed = SessionHead.from_json(head)
    except ValueError:
        return None
    return parsed if parsed.session_id == session_id else None
