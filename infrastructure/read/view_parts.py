"""Parts of views, and views of other moments: some turns of a session without those before and after them, and the view
as it was after an earlier event."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from turnlog.domain.errors import SessionNotFoundError
from turnlog.infrastructure.read.asked import Asked
from turnlog.infrastructure.read.views import Views, parsed_head, parsed_turns, resumed
from turnlog.infrastructure.tasks import off_loop
from turnlog.projections.projector import LARGE_BYTES, Projector
from turnlog.projections.queue import mark_queued
from turnlog.projections.segments import whole_turns
from turnlog.projections.turn import Turn

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore


class TurnPage(NamedTuple):
    """Some turns of a view, in order, at the position `version`."""

    version: int
    turns: tuple[Turn, ...]


class ViewParts:
    """Reads them. Both methods raise StoreError."""

    def __init__(self, store: EventStore, views: Views) -> None:
        self._store = store
        self._views = views

    async def at(self, session_id: UUID, version: int) -> Projector:
        """The projection as it was after the event at this position: made of the latest head that was kept before it,
        if all of its pages are as they were then, and else of all events up to there, which are folded on a thread, a
        piece at a time. Nothing is kept."""
        projector = await self._marked(session_id, version)
        if projector is None or not await self._store.events.fold(projector, version):
            projector = Projector(session_id)
            await self._store.events.fold(projector, version)
        return projector

    async def _marked(self, session_id: UUID, version: int) -> Projector | None:
        body = await self._store.kept.load_mark(session_id, version)
        head = parsed_head(body, session_id)
        if head is None:
            return None
        pages = await self._store.kept.load_pages(session_id, 0, head.closed_turns)
        with suppress(ValueError):
            return await off_loop(sum(map(len, pages)) > LARGE_BYTES, resumed, head, pages, None)
        return None

    async def turns(self, asked: Asked, before: int | None, limit: int) -> TurnPage:
        """At most `limit` turns of the view as it is now: those before the turn of the index `before`, or the last
        ones. Only they are read, and the end of the session. Raises also what `asked` raises, and
        SessionNotFoundError."""
        return (await self.end(asked, before, limit))[0]

    async def end(self, asked: Asked, before: int | None, limit: int) -> tuple[TurnPage, Projector]:
        """The same, and the end of the session as it is at that version, which is the caller's."""
        # Two more: the first may not be there whole, and whether messages are queued depends on the turn before them.
        end = await self._views.load_end(asked.session_id, limit + 2 if before is None else 2, asked)
        if not end.exists:
            raise SessionNotFoundError(asked.session_id)
        last = end.turn_count if before is None else min(before, end.turn_count)
        first = max(0, last - limit)
        older: Sequence[Turn] | None = ()
        if first < last and not end.holds_whole(first):
            older = await self._older(end, first, last)
        if older is None:  # what is kept is of another moment
            end, older = await self._views.load(asked.session_id), ()
        return TurnPage(end.version, await off_loop(end.is_large, _turns_of, end, older, first, last)), end

    async def _older(self, end: Projector, first: int, last: int) -> Sequence[Turn] | None:
        """What is kept of the turns from one index to another, before the pages that `end` holds. None if what is kept
        is of another moment."""
        page = await self._page_of(end, first)
        found = list[Turn]()
        while page is not None and page < end.first_turn and (not found or found[-1].index < last):
            some = await self._pages(end, page, min(page + last - first, end.first_turn))
            if not some:
                return None
            found += some
            page += len(some)
        return None if page is None else found

    async def _page_of(self, end: Projector, index: int) -> int | None:
        """The number of the first page of a turn: that of the turn, unless turns before it have several pages."""
        held = _segments(end)
        low = high = index
        high += end.first_turn - held[0].index if held else 0
        while low < high:
            middle = (low + high) // 2
            found = await self._pages(end, middle, middle + 1)
            if not found:
                return None
            low, high = (middle + 1, high) if found[0].index < index else (low, middle)
        return low

    async def _pages(self, end: Projector, first: int, last: int) -> Sequence[Turn]:
        """The pages of these numbers, as they are in `end`; none where what is kept is of another moment."""
        kept = await self._store.kept.pages(end.session_id, first, last)
        if kept is None or kept.closed_turns < last or kept.position < end.reached_back:
            return ()
        return await off_loop(sum(map(len, kept.pages)) > LARGE_BYTES, _parsed, kept.pages, last - first, end.version)


def _segments(end: Projector) -> tuple[Turn, ...]:
    """All that is held, with each segment by itself, as it was recorded."""
    return (*end.pages_from(end.first_turn), *end.unclosed_turns())


def _turns_of(end: Projector, older: Sequence[Turn], first: int, last: int) -> tuple[Turn, ...]:
    """The turns from one index to another, of the older pages and those that are held."""
    turns = mark_queued(end.read(whole_turns((*older, *_segments(end)))))
    return tuple(turn for turn in turns if first <= turn.index < last)


def _parsed(pages: Sequence[bytes], count: int, version: int) -> Sequence[Turn]:
    try:
        turns = parsed_turns(pages)
    except ValueError:
        return ()
    return turns if len(turns) == count and all(turn.position <= version for turn in turns) else ()
