"""Following a session: what is appended, by whichever process, reaches everybody here who waits for it.

A session that is followed has one *source* in this process, which gets each event from the log once, for all its
followers (the hub reads, see `hub`). A follower is a place in the session. It takes what is in front of it from the
source's recent events, and from the log where it is further behind: so memory is bounded however slow it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self
from uuid import UUID

from turnlog.domain.events import SessionDeleted, StepDelta
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.background import Shared
from turnlog.projections.turn_watch import TurnWatch

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore

EVENTS_AT_ONCE = 500
RECENT_EVENTS = 1_000
RECENT_BYTES = 1024 * 1024
_DELTAS: tuple[type[StepDelta], ...] = StepDelta.__args__
_DELTA_BYTES = 64


class Place:
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
        self.places: set[Place] = set()
        self.turn_ends = {position} if watch.has_ended else set[int]()
        """The positions after which the last turn had ended, since this source began."""
        self._store = store
        self._watch = watch
        self._failure: Exception | None = None
        self._recent: deque[RecordedEvent] = deque()
        self._bytes = 0
        self._pages = Shared[int, list[RecordedEvent]]()

    async def next(self, place: Place) -> list[RecordedEvent]:
        """The next events for this follower; waits until there is one. Raises what reading raised."""
        while self._failure is None:
            if place.has_left:
                raise StopAsyncIteration
            if place.position < self.position:
                return self._recent_after(place.position) or await self._page(place.position)
            place.waiter = asyncio.get_running_loop().create_future()
            try:
                await place.waiter
            finally:
                place.waiter = None  # it would hold on to whoever was cancelled here
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
        for place in self.places:
            place.wake()

    def _forget_what_all_have(self) -> None:
        recent, least = self._recent, min((place.position for place in self.places), default=self.position)
        while recent and (recent[0].position <= least or len(recent) > RECENT_EVENTS or (self._bytes > RECENT_BYTES)):
            self._bytes -= _size(recent.popleft())

    def _recent_after(self, position: int) -> list[RecordedEvent]:
        skip = position + 1 - self._recent[0].position if self._recent else -1
        if skip < 0:
            return []
        # Nearly always the last few: a deque is quick at its ends only.
        wanted = min(len(self._recent) - skip, EVENTS_AT_ONCE)
        if skip == 0:
            return [self._recent[index] for index in range(wanted)]
        last = len(self._recent) - skip - wanted
        return [self._recent[-1 - index] for index in range(last + wanted - 1, last - 1, -1)]

    async def _page(self, position: int) -> list[RecordedEvent]:
        # Many may come back to the same place at the same time.
        upto = self.position
        return await self._pages.run(
            position, lambda: self._store.read(self.session_id, after=position, upto=upto, limit=EVENTS_AT_ONCE)
        )


def _size(event: RecordedEvent) -> int:
    inner = event.event
    if isinstance(inner, _DELTAS):
        return _DELTA_BYTES + len(getattr(inner, "text", "") or getattr(inner, "arguments", ""))
    return len(inner.to_json())


class Following:
    """An async iterator over a session's events after a position: first those that are stored, then each as it comes.

    In order, each exactly once, without end unless `until_turn_ends`, or until the session was deleted (the event
    that says so is the last one). A call that is cancelled, as by a time-out, has taken nothing: go on. Raises
    SessionNotFoundError, StoreError when the log cannot be read, and LogClosedError when it is closed. After an
    error follow again from the last position.
    """

    def __init__(
        self,
        source: Callable[[], Awaitable[Source]],
        left: Callable[[Source, Place], None],
        after: int,
        until_turn_ends: bool,
    ) -> None:
        self._find_source = source
        self._left = left
        self._place = Place(after)
        self._until_turn_ends = until_turn_ends
        self._source: Source | None = None
        self._from = 0
        self._ready: deque[RecordedEvent] = deque()
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordedEvent:
        if not self._is_over and self._source is None:
            await self._begin()
        if self._is_over or self._source is None:
            raise StopAsyncIteration
        if not self._ready:
            try:
                self._ready.extend(await self._source.next(self._place))
            except Exception:
                self._leave()
                raise
        event = self._ready.popleft()
        self._place.position = event.position
        if isinstance(event.event, SessionDeleted) or self._has_turn_ended():
            self._leave()
        return event

    async def aclose(self) -> None:
        """Leaves. So does letting go of the iterator."""
        self._leave()

    def __del__(self) -> None:
        self._leave()

    async def _begin(self) -> None:
        source = await self._find_source()
        self._source, self._from = source, source.position
        source.places.add(self._place)
        if self._has_turn_ended():
            self._leave()

    def _has_turn_ended(self) -> bool:
        """What had ended before anybody followed is history: it counts where nothing came after it."""
        position, source = self._place.position, self._source
        if not self._until_turn_ends or source is None or position < self._from:
            return False
        return min(position, source.position) in source.turn_ends

    def _leave(self) -> None:
        self._is_over = True
        source, self._source = self._source, None
        self._ready.clear()
        self._place.has_left = True
        self._place.wake()
        if source is not None:
            self._left(source, self._place)
