"""The views of sessions: what is cached or kept, and the tail of the log after it. Right with and without a cache.

A view is stored twice: in Redis and, because Redis may be empty, in Postgres. Both hold one line or row for each closed
turn, and a head with all the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from pydantic import TypeAdapter

from turnlog.domain.evolve import evolve
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import SessionState, initial_state
from turnlog.infrastructure.cache import Cache
from turnlog.infrastructure.tasks import Background
from turnlog.projections.projector import PagesNeeded, Projector, SessionHead
from turnlog.projections.view import Turn

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore

logger = logging.getLogger("turnlog")

TAIL_TO_KEEP = 256
"""Events after the kept view that make it worth keeping again, even in the middle of a step."""
HEAD_BYTES = 16 * 1024
TURN_BYTES = 2 * 1024
"""Bytes of a cached view that are read for its head, and for each turn that is wanted. Four times as many are read if
that is not enough."""

_TURNS = TypeAdapter(list[Turn])


class Origin(NamedTuple):
    """The kept head that a projection was resumed from: its position, its number of closed turns, and whether it came
    from Redis (`cached`)."""

    position: int = 0
    closed: int = 0
    cached: bool = False


class Views:
    """Loads the views of sessions, and keeps them for the next reader."""

    def __init__(self, store: EventStore, cache: Cache, background: Background) -> None:
        self._store = store
        self._cache = cache
        self._background = background

    def key(self, session_id: UUID) -> str:
        """The key of the session's view in Redis."""
        return f"{self._cache.prefix}{session_id}"

    async def load(self, session_id: UUID) -> Projector:
        """The projection as of now, with all its turns. That of an unknown session has version 0."""
        asked = self._store.positions.ask(session_id)  # Postgres answers while Redis does
        cached = await self._cached(session_id)
        if cached is not None and cached.version == await asked:
            return cached
        projector = cached or await self._kept(session_id) or Projector(session_id)
        return await self._brought_up(projector, cached is not None)

    async def load_end(self, session_id: UUID, turns: int) -> Projector:
        """The projection as of now, with at least its last `turns` turns."""
        asked = self._store.positions.ask(session_id)
        cached = await self._cached_end(session_id, turns)
        if cached is not None and cached.version == await asked:
            return cached
        projector = cached or await self._kept(session_id, turns) or Projector(session_id)
        try:
            return await self._brought_up(projector, cached is not None)
        except PagesNeeded:
            return await self.load(session_id)

    async def widen(self, projector: Projector, turns: int) -> Projector:
        """The projection with at least its last `turns` turns. The turns that it has are not folded again."""
        before = await self._cached_end(projector.session_id, turns)
        if before is None or not before.first_turn < projector.first_turn <= before.closed_turns:
            return await self.load_end(projector.session_id, turns)
        if before.version > projector.version or projector.reached_back > before.version:
            return await self.load_end(projector.session_id, turns)
        # None of these turns has changed since: an event that reached back to one would have asked for all pages.
        projector.prepend(before.pages_from(before.first_turn)[: projector.first_turn - before.first_turn])
        return projector

    async def _brought_up(self, projector: Projector, cached: bool) -> Projector:
        """The projector with the tail folded in. It is kept if that is worth it. Raises PagesNeeded."""
        session_id = projector.session_id
        origin = Origin(projector.version, projector.closed_turns, cached)
        if not await self._store.events.fold(projector):
            await self.forget(session_id)
            projector = Projector(session_id)
            await self._store.events.fold(projector)
        elif projector.exists:
            self._keep(projector, origin)
        return projector

    async def load_state(self, session_id: UUID) -> tuple[SessionState, int]:
        """The state to decide on, and its position. Reads no turns."""
        head = await self._head(session_id)
        if head is not None:
            tail = await self._tail(session_id, head.version)
            if tail is not None:
                return self._evolved(head.whole_state(), head.version, tail)
            await self.forget(session_id)
        return self._evolved(initial_state(session_id), 0, await self._store.events.read(session_id))

    async def catch_up(self, state: SessionState, version: int) -> tuple[SessionState, int]:
        """The state and its position after the events that others have appended since `version`."""
        tail = await self._tail(state.session_id, version)
        if tail is None:  # the server has lost its last commits
            return await self.load_state(state.session_id)
        return self._evolved(state, version, tail)

    @staticmethod
    def _evolved(state: SessionState, version: int, tail: list[RecordedEvent]) -> tuple[SessionState, int]:
        for recorded in tail:
            state = evolve(state, recorded.event)
        return state, tail[-1].position if tail else version

    async def forget(self, session_id: UUID) -> None:
        """Drops the cached and the kept view of the session."""
        await self._cache.drop(self.key(session_id))
        await self._store.kept.forget(session_id)

    async def rebuild(self, session_id: UUID) -> None:
        """Folds the view anew from the events, and keeps it."""
        await self.forget(session_id)
        projector = await self.load(session_id)
        if projector.exists:
            await self._store.kept.save(projector)

    # What is cached, and what is kept

    async def _cached(self, session_id: UUID) -> Projector | None:
        entry = await self._cache.get(self.key(session_id))
        if entry is None:
            return None
        try:
            return _resumed(_parsed_head(entry.last, session_id), entry.lines.split(b",\n")[:-1], None)
        except ValueError:
            await self._cache.drop(self.key(session_id))
            return None

    async def _cached_end(self, session_id: UUID, turns: int) -> Projector | None:
        size = HEAD_BYTES + turns * TURN_BYTES
        while (end := await self._cache.get_end(self.key(session_id), size)) is not None:
            head = _parsed_head(end.last, session_id)
            wanted = min(turns, head.closed_turns) if head else 0
            if len(end.lines) >= wanted or end.is_whole:
                try:
                    return _resumed(head, end.lines[len(end.lines) - wanted :], turns)
                except ValueError:
                    return None
            size *= 4
        return None

    async def _head(self, session_id: UUID) -> SessionHead | None:
        end = await self._cache.get_end(self.key(session_id), HEAD_BYTES)
        cached = _parsed_head(end.last, session_id) if end else None
        return cached or _parsed_head(await self._store.kept.load_head(session_id), session_id)

    async def _kept(self, session_id: UUID, turns: int | None = None) -> Projector | None:
        kept = await self._store.kept.load(session_id, turns)
        if kept is None:
            return None
        try:
            return _resumed(_parsed_head(kept[0], session_id), kept[1], turns)
        except ValueError:
            logger.warning("the kept view of session %s does not parse and is folded anew", session_id)
            await self._store.kept.forget(session_id)
            return None

    async def _tail(self, session_id: UUID, after: int) -> list[RecordedEvent] | None:
        """The events after a position. None if the log does not have that position: then what was kept at it belongs to
        another log."""
        if after == 0:
            return await self._store.events.read(session_id)
        events = await self._store.events.read(session_id, after=after - 1)
        return events[1:] if events and events[0].position == after else None

    def _keep(self, projector: Projector, origin: Origin) -> None:
        fresh = projector.version - origin.position
        whole = projector.first_turn == 0
        missing = whole and not origin.cached
        worth = fresh >= TAIL_TO_KEEP or (not projector.is_streaming and (fresh or missing))
        if worth and not self._cache.is_down:
            self._background.spawn(self._cache_view(projector, origin))
        if fresh >= TAIL_TO_KEEP or projector.closed_turns > origin.closed:
            self._background.spawn(self._store_view(projector))

    async def _store_view(self, projector: Projector) -> None:
        if not await self._store.kept.save(projector):
            await self._store.kept.save(await self.load(projector.session_id))

    async def _cache_view(self, projector: Projector, origin: Origin) -> None:
        key, version, head = self.key(projector.session_id), projector.version, projector.head().to_json()
        old = any(page.index < origin.closed for page in projector.pages(after=origin.position))
        if origin.cached and not old:
            added = _lines(projector.pages_from(origin.closed))
            if await self._cache.put(key, version, origin.position, added, head):
                return
        if projector.first_turn == 0:
            await self._cache.put(key, version, 0, _lines(projector.pages_from(0)), head)


def _lines(pages: Sequence[Turn]) -> bytes:
    return b"".join(page.to_short_json() + b",\n" for page in pages)


def _turns(lines: Sequence[bytes]) -> list[Turn]:
    """The turns of these lines. Raises ValueError."""
    try:
        return _TURNS.validate_json(b"[" + b",".join(lines) + b"]")
    except ValueError:
        return [Turn.from_json(line) for line in lines]  # they may hold lone surrogates


def _resumed(head: SessionHead | None, lines: Sequence[bytes], turns: int | None) -> Projector:
    """The projection of a kept head and its last `turns` turns (None: all). Raises ValueError when they do not belong
    together."""
    if head is None:
        raise ValueError("a kept head does not parse or is another session's")
    pages = _turns(lines)
    first = 0 if turns is None else max(0, head.closed_turns - turns)
    if [page.index for page in pages] != list(range(first, head.closed_turns)):
        raise ValueError("a kept page is missing or in the wrong order")
    if any(page.position > head.version for page in pages):
        raise ValueError("a kept page is ahead of its head")
    return Projector.resume(head, pages)


def _parsed_head(head: bytes | None, session_id: UUID) -> SessionHead | None:
    if head is None:
        return None
    try:
        parsed = SessionHead.from_json(head)
    except ValueError:
        return None
    return parsed if parsed.session_id == session_id else None
