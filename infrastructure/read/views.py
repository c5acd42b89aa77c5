"""The views of sessions: what is cached or kept, and the tail of the log after it. Right with and without a cache.

A view is stored twice: in Redis and, because Redis may be empty, in Postgres. Both hold one line or row for each closed
turn, and a head with all the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from pydantic import TypeAdapter

from turnlog.domain.errors import StoreError
from turnlog.domain.state import Active
from turnlog.infrastructure.cache import Cache
from turnlog.infrastructure.cache_entry import Entry
from turnlog.infrastructure.observer import Observer
from turnlog.infrastructure.read import view_ends
from turnlog.infrastructure.read.asked import Asked
from turnlog.infrastructure.read.decision_states import DecisionStates
from turnlog.infrastructure.tasks import Background, off_loop
from turnlog.projections.head import SessionHead
from turnlog.projections.projector import LARGE_BYTES, PagesNeeded, Projector
from turnlog.projections.stored_state import StoredState
from turnlog.projections.view import Turn

if TYPE_CHECKING:
    from turnlog.infrastructure.store.kept import Kept
    from turnlog.infrastructure.store.store import EventStore

logger = logging.getLogger("turnlog")

TAIL_TO_KEEP = 256
"""Events after the kept view that make it worth keeping again, even in the middle of a step."""
PIECE_TO_KEEP = 5_000
"""Events after which a view is kept while a long tail is read."""
KEPT_TRIES = 3
LINES_AT_ONCE = 100

_TURNS = TypeAdapter(list[Turn])


class Origin(NamedTuple):
    """The kept head that a projection was resumed from: its position, its number of closed turns, and its entry if it
    came from Redis."""

    position: int = 0
    closed: int = 0
    entry: Entry | None = None


class LinesNeeded(Exception):  # noqa: N818 nobody's error: it says what to read
    """More of an entry has to be read."""


class LinesGone(Exception):  # noqa: N818 nobody's error: it says what to read
    """An entry begins after what is wanted."""


class Cached(NamedTuple):
    """A projection that was resumed from an entry of Redis, or from the end of one."""

    projector: Projector
    entry: Entry


class Views:
    """Loads the views of sessions, and keeps them for the next reader."""

    def __init__(self, store: EventStore, cache: Cache, background: Background, observer: Observer) -> None:
        self._store = store
        self._cache = cache
        self._background = background
        self.observer = observer
        self._sizes = view_ends.EntrySizes()
        self.states = DecisionStates(store, background, self.forget)

    def key(self, session_id: UUID) -> str:
        """The key of the session's view in Redis."""
        return self._cache.key(session_id, "view")

    async def load(self, session_id: UUID, asked: Asked | None = None) -> Projector:
        """The projection as of now, with all its turns. That of an unknown session has version 0. `asked` says that it
        may be read, and is where the session stands. Raises what `asked` raises, and StoreError."""
        cached, is_current = await self._asked_for(session_id, asked, lambda: self._cached(session_id))
        if cached is not None and is_current:
            return cached.projector
        projector = cached.projector if cached else await self.load_kept(session_id) or Projector(session_id)
        return await self._brought_up(projector, cached and cached.entry)

    async def load_end(self, session_id: UUID, turns: int, asked: Asked | None = None) -> Projector:
        """The projection as of now, with at least its last `turns` turns. Else as `load`."""
        cached, is_current = await self._asked_for(session_id, asked, lambda: self._cached_end(session_id, turns))
        if cached is not None and is_current:
            return cached.projector
        projector = cached.projector if cached else await self.load_kept(session_id, turns) or Projector(session_id)
        try:
            return await self._brought_up(projector, cached and cached.entry, turns)
        except PagesNeeded:
            return await self.load(session_id)

    async def go_on(self, projector: Projector) -> Projector:
        """The projection as of now, out of one that was loaded before, which cannot be used any more. Only what came
        since is read, and nothing is kept: that is for the next reader who loads one. Raises StoreError."""
        try:
            if await self._store.events.fold(projector):
                return projector
            await self.forget(projector.session_id)
        except PagesNeeded:
            pass
        return await self.load(projector.session_id)

    async def _asked_for(
        self, session_id: UUID, asked: Asked | None, read: Callable[[], Awaitable[Cached | None]]
    ) -> tuple[Cached | None, bool]:
        """What is cached, and whether the session still is where that was made."""
        asked = asked or Asked(self._store, session_id)
        if not asked.is_expected:
            await asked.standing()
        cached = await read()  # Postgres answers while Redis does
        standing = await asked.standing()
        self.observer.looked_up("view", cached is not None)
        at = cached and cached.projector
        return cached, at is not None and (at.version, at.commit_id) == (standing.position, standing.commit_id)

    async def widen(self, projector: Projector, turns: int) -> Projector:
        """The projection with at least its last `turns` turns. The turns that it has are not folded again."""
        cached = await self._cached_end(projector.session_id, turns)
        before = cached.projector if cached else None
        if before is None or not before.first_turn < projector.first_turn <= before.closed_turns:
            return await self.load_end(projector.session_id, turns)
        if before.version > projector.version or projector.reached_back > before.version:
            return await self.load_end(projector.session_id, turns)
        # None of these turns has changed since: an event that reached back to one would have asked for all pages.
        projector.prepend(before.pages_from(before.first_turn)[: projector.first_turn - before.first_turn])
        return projector

    async def _brought_up(self, projector: Projector, entry: Entry | None, turns: int | None = None) -> Projector:
        """The projector with the tail folded in, of which at least the last `turns` turns are wanted (None: all). It is
        kept if that is worth it; of a long tail each piece is, so that no reader who is broken off has read in vain.
        Raises PagesNeeded."""
        session_id = projector.session_id
        origin = Origin(projector.version, await _closed_turns(projector), entry and entry.end())
        folded = await self._folded(projector, turns)
        if folded is None:
            await self.forget(session_id)
            return await self._brought_up(Projector(session_id), None, turns)
        if folded.exists:
            self._keep(folded, origin, await _closed_turns(folded))
        return folded

    async def _folded(self, projector: Projector, turns: int | None) -> Projector | None:
        """The same, where only pieces are kept. None if the projector's past is gone."""
        folding, kept = self._store.events.folding(projector), projector.version
        async for so_far in folding:
            if so_far.version - kept >= PIECE_TO_KEEP and so_far.exists:
                folding.projector, kept = await self._kept_so_far(so_far, turns), so_far.version
        return folding.projector if folding.is_there else None

    async def _kept_so_far(self, projector: Projector, turns: int | None) -> Projector:
        """The projector, which is kept, without the turns that are not wanted: so memory is bounded."""
        try:
            is_kept = await self._store.kept.save(projector)
        except StoreError as error:
            logger.debug("session %s is not kept up to event %d: %s", projector.session_id, projector.version, error)
            return projector
        if not is_kept or turns is None:
            return projector
        return await asyncio.to_thread(view_ends.end_of, projector, turns)

    async def forget(self, session_id: UUID) -> None:
        """Drops all that is cached of the session, and its kept view."""
        await self._cache.forget(session_id)
        await self._store.kept.forget(session_id)
        await self._store.states.forget(session_id)

    async def fold_anew(self, session_id: UUID) -> Projector:
        """The projection, folded from the first event on. It is what is kept in Postgres from now on; in Redis there is
        nothing. Raises StoreError."""
        await self.forget(session_id)
        projector = await self._folded(Projector(session_id), None)
        if projector is None:  # the log went back meanwhile
            return await self.fold_anew(session_id)
        if projector.exists:
            await self._store.kept.save(projector)
            await self._store.states.save(StoredState(projector.state, projector.version, projector.commit_id))
        return projector

    async def rebuild(self, session_id: UUID) -> None:
        """Folds the view anew from the events, and keeps it. The session's line in the lists gets what it lacks."""
        projector = await self.fold_anew(session_id)
        if isinstance(projector.state, Active):
            await self._store.lists.fill_in(projector.state, projector.version)

    # What is cached, and what is kept

    async def _cached(self, session_id: UUID) -> Cached | None:
        entry = await self._cache.get(self.key(session_id))
        return await self._resumed(entry, session_id, None) if entry else None

    async def _cached_end(self, session_id: UUID, turns: int) -> Cached | None:
        size = self._sizes.of_end(session_id, turns)
        while (entry := await self._cache.get_end(self.key(session_id), size)) is not None:
            try:
                return await self._resumed(entry, session_id, turns)
            except LinesNeeded:
                size *= 4
        return None

    async def _resumed(self, entry: Entry, session_id: UUID, turns: int | None) -> Cached | None:
        try:
            projector = await off_loop(len(entry.value) > LARGE_BYTES, _from_entry, entry, session_id, turns)
        except LinesGone:
            return None
        except ValueError:  # an entry of turnlog's own, but of a version with a fault
            await self._cache.drop(entry.key)
            return None
        projector.read_bytes = len(entry.value)
        self._sizes.saw(session_id, entry)
        return Cached(projector, entry)

    async def load_kept(self, session_id: UUID, turns: int | None = None) -> Projector | None:
        """The projection that is kept in Postgres, with its last `turns` turns (None: all). None if there is none.
        Raises StoreError."""
        for _ in range(KEPT_TRIES):
            kept = await self._store.kept.load(session_id, turns)
            if kept is None:
                return None
            size = len(kept.head) + sum(map(len, kept.pages))
            with suppress(ValueError):  # many pages are of several moments, so they may not belong together
                projector = await off_loop(size > LARGE_BYTES, _from_kept, kept, session_id, turns)
                projector.read_bytes = size
                return projector
        logger.warning("the kept view of session %s does not parse and is folded anew", session_id)
        await self._store.kept.forget(session_id)
        return None

    def _keep(self, projector: Projector, origin: Origin, closed: int) -> None:
        fresh = projector.version - origin.position
        whole = projector.first_turn == 0
        missing = whole and origin.entry is None
        worth = fresh >= TAIL_TO_KEEP or (not projector.is_streaming and (fresh or missing))
        if worth and self._cache.is_writable:
            self._background.spawn(self._cache_view(projector, origin))
        if fresh >= TAIL_TO_KEEP or closed > origin.closed:
            self._background.spawn(self._store_view(projector))

    async def _store_view(self, projector: Projector) -> None:
        if not await self._store.kept.save(projector):
            await self._store.kept.save(await self.load(projector.session_id))

    async def _cache_view(self, projector: Projector, origin: Origin) -> None:
        is_large, base = projector.is_large, origin.entry
        entry = await off_loop(is_large, self._made, projector, origin)
        if entry is not None and await self._cache.put(entry, base, view_ends.VIEW_BYTES):
            return
        # The entry is too large, or not there any more, or a page in it has changed: it begins anew.
        before = list[bytes]()
        if entry is not None and base is not None:
            end = await self._cache.get_end(base.key, view_ends.LAST_BYTES)
            before = end.lines if end is not None and end.tag == base.tag else before
        first = origin.closed if before else projector.first_turn
        await self._cache.put(await off_loop(is_large, self._made_anew, projector, before, first))

    def _made(self, projector: Projector, origin: Origin) -> Entry | None:
        """The entry of this view: what is added to that of the origin. None if there is none, or if a page in it has
        changed since."""
        base = origin.entry
        if base is None or projector.closed_turns < origin.closed:
            return None
        if any(number < origin.closed for number, _ in projector.numbered_pages(after=origin.position)):
            return None
        lines, head = _lines(projector.pages_from(origin.closed)), projector.head().to_json()
        return self._cache.made(base.key, projector.version, lines, head, base)

    def _made_anew(self, projector: Projector, before: Sequence[bytes], first: int) -> Entry:
        """The entry with the last turns: the lines `before` a turn, and those from there on."""
        lines = view_ends.last_lines(before, projector.pages_from(first), is_whole=projector.first_turn == 0)
        return self._cache.made(self.key(projector.session_id), projector.version, lines, projector.head().to_json())


async def _closed_turns(projector: Projector) -> int:
    return await off_loop(projector.is_large, lambda: projector.closed_turns)


def _lines(pages: Sequence[Turn]) -> list[bytes]:
    return [page.to_short_json() for page in pages]


def parsed_turns(lines: Sequence[bytes]) -> list[Turn]:
    """The turns of these lines, as they are kept. Raises ValueError."""
    turns = list[Turn]()
    for first in range(0, len(lines), LINES_AT_ONCE):  # a thread lets others go on between two of them
        some = lines[first : first + LINES_AT_ONCE]
        try:
            turns += _TURNS.validate_json(b"[" + b",".join(some) + b"]")
        except ValueError:
            turns += [Turn.from_json(line) for line in some]  # they may hold lone surrogates
    return turns


def _from_entry(entry: Entry, session_id: UUID, turns: int | None) -> Projector:
    """The projection of an entry, with its last `turns` turns (None: all). Raises ValueError, LinesNeeded when this end
    of the entry has not so many, and LinesGone when the entry has not."""
    head, lines = parsed_head(entry.last, session_id), entry.lines
    closed = head.closed_turns if head else 0
    wanted = closed if turns is None else min(turns, closed)
    if len(lines) < wanted:
        raise LinesGone if entry.is_whole else LinesNeeded
    return resumed(head, lines[len(lines) - wanted :], turns)


def _from_kept(kept: Kept, session_id: UUID, turns: int | None) -> Projector:
    return resumed(parsed_head(kept.head, session_id), kept.pages, turns)


def resumed(head: SessionHead | None, lines: Sequence[bytes], turns: int | None) -> Projector:
    """The projection of a kept head and its last `turns` turns (None: all). Raises ValueError when they do not belong
    together."""
    if head is None:
        raise ValueError("a kept head does not parse or is another session's")
    pages = parsed_turns(lines)
    first = 0 if turns is None else max(0, head.closed_turns - turns)
    if len(pages) != head.closed_turns - first or not _follow_each_other(pages, first):
        raise ValueError("a kept page is missing or in the wrong order")
    if any(page.position > head.version for page in pages):
        raise ValueError("a kept page is ahead of its head")
    return Projector.resume(head, pages)


def _follow_each_other(pages: Sequence[Turn], first: int) -> bool:
    """Whether these are turns that follow each other, or segments of one, as far as that can be told."""
    begins = not pages or pages[0].index == 0 if first == 0 else True
    return begins and all(after.index - page.index in (0, 1) for page, after in pairwise(pages))


def parsed_head(head: bytes | None, session_id: UUID) -> SessionHead | None:
    """The head that is kept. None if it is none, or another session's."""
    if head is None:
        return None
    try:
        parsed = SessionHead.from_json(head)
    except ValueError:
        return None
    return parsed if parsed.session_id == session_id else None
