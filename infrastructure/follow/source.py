"""Following a session: what is appended, by whichever process, reaches everybody here who waits for it.

A session that is followed has one *source* in this process, which gets each event from the log once, for all its
followers (the watcher reads, see `session_watcher`). A follower has a cursor. It takes what comes after that from
the source's recent events, and from the log where the source has forgotten them: so memory is bounded, however slow
a follower is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.events import STEP_DELTAS
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.background import Shared
from turnlog.projections.turn_watch import TurnWatch

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore

FOLLOW_PAGE_EVENTS = 500
RECENT_EVENTS = 1_000
RECENT_BYTES = 1024 * 1024
_DELTA_BYTES = 64


class FollowerCursor:
    """Where a follower is: the position of the last event that it has taken."""

    __slots__ = ("has_left", "position", "waiter")

    def __init__(self, position: int) -> None:
        self.position = position
        self.has_left = False
        self.waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """There may be something new to this follower."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Source:
    """One session that is followed here. `position` is that of the last event read."""

    def __init__(self, session_id: UUID, store: EventStore, position: int, watch: TurnWatch) -> None:
        self.session_id = session_id
        self.position = position
        self.cursors: set[FollowerCursor] = set()
        self.turn_ends = {position} if watch.has_ended else set[int]()
        """The positions after which the last turn had ended, since this source began."""
        self._store = store
        self._watch = watch
        self._failure: Exception | None = None
        self._recent: deque[RecordedEvent] = deque()
        self._bytes = 0
        self._pages = Shared[int, list[RecordedEvent]]()

    async def next(self, cursor: FollowerCursor) -> list[RecordedEvent]:
        """The next events for this follower; waits until there is one. Raises what reading raised."""
        while self._failure is None:
            if cursor.has_left:
                raise StopAsyncIteration
            if cursor.position < self.position:
                return self._recent_after(cursor.position) or await self._page(cursor.position)
            cursor.waiter = asyncio.get_running_loop().create_future()
            await cursor.waiter
        raise self._failure

    def came(self, events: list[RecordedEvent]) -> None:
        """Takes the events that follow `position`, and wakes who waits for them."""
        for event in events:
            self._recent.append(event)
            self._bytes += _size(event)
            self.position = event.position
            if self._watch.apply(event):
                self.turn_ends.add(event.position)
        self._forget_what_all_have()
        self._wake()

    def fail(self, error: Exception) -> None:
        """Nothing more comes: whoever waits, or comes, gets the error."""
        self._failure = self._failure or error
        self._wake()

    def _wake(self) -> None:
        for cursor in self.cursors:
            cursor.wake()

    def _forget_what_all_have(self) -> None:
        recent, least = self._recent, min((cursor.position for cursor in self.cursors), default=self.position)
        while recent and (recent[0].position <= least or len(recent) > RECENT_EVENTS or self._bytes > RECENT_BYTES):
            self._bytes -= _size(recent.popleft())

    def _recent_after(self, position: int) -> list[RecordedEvent]:
        skip = position + 1 - self._recent[0].position if self._recent else -1
        return list(islice(self._recent, skip, skip + FOLLOW_PAGE_EVENTS)) if skip >= 0 else []

    async def _page(self, position: int) -> list[RecordedEvent]:
        # Many may come back to the same cursor at the same time.
        upto = self.position
        return await self._pages.run(
            position, lambda: self._store.read(self.session_id, after=position, upto=upto, limit=FOLLOW_PAGE_EVENTS)
        )


def _size(event: RecordedEvent) -> int:
    inner = event.event
    if isinstance(inner, STEP_DELTAS):
        return _DELTA_BYTES + len(getattr(inner, "text", "") or getattr(inner, "arguments", ""))
    return len(inner.to_json())
