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
        # One more: whether messages are queued depends on the turn before them.
        end = await self._views.load_end(asked.session_id, limit + 1 if before is None else 1, asked)
        if not end.exists:
            raise SessionNotFoundError(asked.session_id)
        last = end.turn_count if before is None else min(before, end.turn_count)
        first = max(0, last - limit)
        turns = await off_loop(end.is_large, _held_turns, end, first, last)
        older = await self._older(end, first, min(last, end.first_turn)) if first < end.first_turn else ()
        return TurnPage(end.version, (*older, *turns))

    async def _older(self, end: Projector, first: int, last: int) -> Sequence[Turn]:
        """The closed turns from one index to another, before those that `end` holds."""
        kept = await self._store.kept.pages(end.session_id, first, last)
        if kept is not None and kept.closed_turns >= last and kept.position >= end.reached_back:
            size = sum(map(len, kept.pages))
            turns = await off_loop(size > LARGE_BYTES, _parsed, kept.pages, end)
            if [turn.index for turn in turns] == list(range(first, last)):
                return turns
        # What is kept is of another moment.
        wider = await self._views.load_end(end.session_id, end.closed_turns - first)
        return await off_loop(wider.is_large, _held_turns, wider, first, last)


def _held_turns(projector: Projector, first: int, last: int) -> tuple[Turn, ...]:
    """The turns from one index to another, as far as they are held."""
    return tuple(turn for turn in mark_queued(projector.turns()) if first <= turn.index < last)


def _parsed(pages: Sequence[bytes], end: Projector) -> Sequence[Turn]:
    """The turns of these pages as in the view. None if they are not those of the projection."""
    try:
        turns = parsed_turns(pages)
    except ValueError:
        return ()
    return () if any(turn.position > end.version for turn in turns) else end.read(turns)
