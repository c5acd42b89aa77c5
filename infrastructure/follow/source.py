"""A source: the one reader of a followed session in this process, for all its followers.

A source gets each event once (the watcher reads the log, see `session_watcher`). Each follower has a cursor, and takes
the events after it, about a page of bytes at a time: from the source's recent events, or from the log where the source
has dropped them. So memory is bounded, however slow a follower is, and however large the events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.errors import UnknownPositionError
from turnlog.domain.events import FRAGMENTS
from turnlog.domain.recorded import Position, RecordedEvent
from turnlog.infrastructure.tasks import Shared
from turnlog.projections.turn_watch import TurnWatch

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore

FOLLOW_PAGE_EVENTS = 500
"""Events of one session that are read in one statement."""
RECENT_EVENTS = 1_000
RECENT_BYTES = 1024 * 1024
"""Largest number and size of the events that a source keeps for its followers."""
FOLLOW_PAGE_BYTES = 256 * 1024
"""About the size of the events that a follower takes at a time, unless one alone is larger. A slow one holds them."""
_DELTA_BYTES = 64


class FollowerCursor:
    """How far a follower has come: `position` and `commit_id` are those of the last event that it has taken. Without a
    commit id it has come with a position alone."""

    __slots__ = ("commit_id", "has_left", "position", "waiter")

    def __init__(self, position: int, commit_id: int | None = None) -> None:
        self.position = position
        self.commit_id = commit_id
        self.has_left = False
        self.waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Makes the follower look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Source:
    """A session that is followed here. `last` is the last event that was read. `watch` is there if somebody wants to
    know where turns have ended, and `watched_from` the position from which on that is known."""

    def __init__(self, session_id: UUID, store: EventStore, last: Position, watch: TurnWatch | None) -> None:
        self.session_id = session_id
        self.last = last
        self.cursors: set[FollowerCursor] = set()
        self.watched_from = last.position
        self.turn_ends = {last.position} if watch is not None and watch.has_ended else set[int]()
        """Positions at which the last turn had ended, from `watched_from` on."""
        self._store = store
        self._watch = watch
        self._failure: Exception | None = None
        self._recent: deque[RecordedEvent] = deque()
        self._before = last
        """The event before the recent ones."""
        self._bytes = 0
        self._pages = Shared[tuple[int, int | None], list[RecordedEvent]]()
        self._page_events = FOLLOW_PAGE_EVENTS

    @property
    def position(self) -> int:
        """The position of the last event that was read."""
        return self.last.position

    @property
    def is_watched(self) -> bool:
        """Whether it says where turns have ended."""
        return self._watch is not None

    def watch_as(self, other: Source) -> bool:
        """Goes on as another source of the session, which nobody follows, would say where turns have ended. False if
        that one has not come far enough."""
        if self._watch is not None:
            return True
        missed = self._after(other.position)
        if missed is None or other._watch is None:
            return False
        self._watch, self.watched_from, self.turn_ends = other._watch, other.position, other.turn_ends
        self._look_for_ends(missed)
        return True

    def _after(self, position: int) -> list[RecordedEvent] | None:
        """The events after this position, up to the last one that was read; None if they are not there any more."""
        if position >= self.position:
            return []
        first = self._before.position + 1
        return None if position + 1 < first else [event for event in self._recent if event.position > position]

    def _look_for_ends(self, events: list[RecordedEvent]) -> None:
        if self._watch is None:
            return
        for event in events:
            if event.position > self.watched_from and self._watch.apply(event):
                self.turn_ends.add(event.position)

    async def next(self, cursor: FollowerCursor) -> list[RecordedEvent]:
        """The next events of this follower. Waits until there are some. Raises what reading the log has raised,
        UnknownPositionError when the log went back, and StopAsyncIteration when the follower has left."""
        while self._failure is None:
            if cursor.has_left:
                raise StopAsyncIteration
            if cursor.position < self.position:
                return self._recent_after(cursor) or await self._page(cursor)
            cursor.waiter = asyncio.get_running_loop().create_future()
            await cursor.waiter
        raise self._failure

    def came(self, events: list[RecordedEvent]) -> None:
        """Takes the events after `position`, and wakes the followers that wait."""
        for event in events:
            self._recent.append(event)
            self._bytes += _size(event)
            self.last = Position(event.position, event.commit_id)
        self._look_for_ends(events)
        self._forget_what_all_have()
        self._wake()

    def fail(self, error: Exception) -> None:
        """Ends the source: followers that wait now or later get the error."""
        self._failure = self._failure or error
        self._wake()

    def _wake(self) -> None:
        for cursor in self.cursors:
            cursor.wake()

    def _forget_what_all_have(self) -> None:
        recent, least = self._recent, min((cursor.position for cursor in self.cursors), default=self.position)
        while recent and (recent[0].position <= least or len(recent) > RECENT_EVENTS or self._bytes > RECENT_BYTES):
            gone = recent.popleft()
            self._before = Position(gone.position, gone.commit_id)
            self._bytes -= _size(gone)

    def _recent_after(self, cursor: FollowerCursor) -> list[RecordedEvent]:
        skip = cursor.position + 1 - self._recent[0].position if self._recent else -1
        if skip < 0:
            return []
        last = self._recent[skip - 1] if skip else self._before
        is_same = cursor.commit_id in (None, last.commit_id)  # else one of the two is of a past that is gone
        return _page_of(islice(self._recent, skip, skip + FOLLOW_PAGE_EVENTS)) if is_same else []

    async def _page(self, cursor: FollowerCursor) -> list[RecordedEvent]:
        # Many followers may come back with the same position at the same time.
        position, commit_id = cursor.position, cursor.commit_id
        return await self._pages.run((position, commit_id), lambda: self._read_page(position, commit_id))

    async def _read_page(self, position: int, commit_id: int | None) -> list[RecordedEvent]:
        """The events after the one that the follower has seen, as far as this source has come. Where that one, or all
        that came after it, is not in the log any more, the log went back."""
        events, upto, limit = self._store.events, self.position, self._page_events
        if position and commit_id is not None:
            after = await events.read_after({self.session_id: Position(position, commit_id)}, limit)
            found = [event for event in after.get(self.session_id, ()) if event.position <= upto]
        else:
            found = await events.read(self.session_id, position, upto, limit)
        if not found:
            raise UnknownPositionError(upto, (await self._store.standing(self.session_id)).position)
        page = _page_of(found)
        # What is read and not taken is read again: the next page is about as long as this one.
        self._page_events = len(page) if len(page) < len(found) else min(FOLLOW_PAGE_EVENTS, 2 * limit)
        return page


def _page_of(events: Iterable[RecordedEvent]) -> list[RecordedEvent]:
    """The first events, of about the size of a page."""
    page, size = list[RecordedEvent](), 0
    for event in events:
        size += _size(event)
        if page and size > FOLLOW_PAGE_BYTES:
            break
        page.append(event)
    return page


def _size(event: RecordedEvent) -> int:
    inner = event.event
    if isinstance(inner, FRAGMENTS) and not getattr(inner, "details", ()):
        return _DELTA_BYTES + len(getattr(inner, "text", "") or getattr(inner, "arguments", ""))
    return len(inner.to_json())
