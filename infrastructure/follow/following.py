"""A follower: an async iterator over the events of one session, the stored ones and those to come."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from turnlog.domain.events import SessionDeleted
from turnlog.domain.recorded import Cursor, RecordedEvent
from turnlog.infrastructure.follow.source import FollowerCursor, Source


class Following:
    """An async iterator over a session's events after a position: first those that are stored, then each as it comes.

    Events come in order, each exactly once. The iteration ends when the session is deleted (the event that says so is
    the last one), and with `until_turn_ends` when the last turn has ended. A call that is cancelled, as by a timeout,
    has taken nothing: call again. Raises SessionNotFoundError, UnknownPositionError for a position that the session
    does not have, or when the log went back, StoreError when the log cannot be read, and LogClosedError when it is
    closed. After any other error than UnknownPositionError, follow again from the last position.
    """

    def __init__(
        self,
        source: Callable[[], Awaitable[Source]],
        left: Callable[[Source, FollowerCursor], None],
        after: Cursor,
        until_turn_ends: bool,
        check: Callable[[], None],
    ) -> None:
        self._find_source = source
        self._left = left
        self._cursor = FollowerCursor(after.position, after.commit_id)
        self._until_turn_ends = until_turn_ends
        self._check = check
        self._source: Source | None = None
        self._from = 0
        self._ready: deque[RecordedEvent] = deque()
        self._is_over = False
        self.cursor = ""
        """What names the last event that was taken, for a client to come back with; empty before the first."""

    def __aiter__(self) -> Self:
        return self

    @property
    def is_ready(self) -> bool:
        """Whether the next event is here, and need not be waited for."""
        return bool(self._ready)

    async def begun(self) -> Self:
        """Waits until it is known that the session and the position are there, as a web handler has to know before it
        sends its first byte. Raises what the first call of the iteration would raise."""
        self._check()
        if not self._is_over and self._source is None:
            await self._begin()
        return self

    async def __anext__(self) -> RecordedEvent:
        await self.begun()
        if self._is_over or self._source is None:
            raise StopAsyncIteration
        if not self._ready:
            try:
                self._ready.extend(await self._source.next(self._cursor))
            except Exception:
                self._leave()
                raise
        return self.taken()

    def taken(self) -> RecordedEvent:
        """The next event, which is here (`is_ready`)."""
        event = self._ready.popleft()
        self._cursor.position, self._cursor.commit_id = event.position, event.commit_id
        self.cursor = event.cursor
        if isinstance(event.event, SessionDeleted) or self._has_turn_ended():
            self._leave()
        return event

    async def aclose(self) -> None:
        """Ends the iteration. Dropping the iterator does the same."""
        self._leave()

    def __del__(self) -> None:
        self._leave()

    async def _begin(self) -> None:
        source = await self._find_source()
        self._source, self._from = source, max(source.position, source.watched_from)
        source.cursors.add(self._cursor)
        if self._has_turn_ended():
            self._leave()

    def _has_turn_ended(self) -> bool:
        """Whether the last turn has ended at the cursor. A turn that had ended before the source began counts only if
        nothing came after it."""
        position, source = self._cursor.position, self._source
        if not self._until_turn_ends or source is None or position < self._from:
            return False
        return min(position, source.position) in source.turn_ends

    def _leave(self) -> None:
        self._is_over = True
        source, self._source = self._source, None
        self._ready.clear()
        self._cursor.has_left = True
        self._cursor.wake()
        if source is not None:
            self._left(source, self._cursor)
