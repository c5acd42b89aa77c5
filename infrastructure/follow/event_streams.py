"""Sessions as server-sent events, for web applications: what is sent, and how the streams of a process end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Self

from turnlog.domain.errors import LogClosedError, SessionNotFoundError, StoreError, UnknownPositionError
from turnlog.domain.inputs import checked_seconds
from turnlog.domain.recorded import Cursor, RecordedEvent
from turnlog.infrastructure.follow.stream_forms import Followed, Follower, StreamForm
from turnlog.infrastructure.signals import EndingSignals
from turnlog.infrastructure.tasks import spawned
from turnlog.projections.deltas import Delta
from turnlog.projections.turn import Turn
from turnlog.projections.view import SessionView

logger = logging.getLogger("turnlog")

SSE_DELTAS = StreamForm()
_POSITION_DIGITS = 15
JOINED_LENGTH = 32 * 1024
"""Characters from which on no other item is joined: a slow reader holds one text."""


class EventStreams:
    """The server-sent events of a web application, for as long as it runs:

        async with AsyncOpenAI() as client, SessionLog.open() as log, EventStreams() as streams:
            yield  # the application runs

        lines = await streams.open(session, after=last_event_id)  # in a handler

    A web server waits for its connections before it lets an application shut down. So on SIGINT and SIGTERM the streams
    end at once, before the server's own handler of the signal is called; browsers connect again, to the next process.
    A server that ends in another way calls `end`.

    `heartbeat_seconds` is the longest time without a byte; `retry_seconds` is how long a browser waits before it
    connects again. Raises InvalidInputError.
    """

    def __init__(self, *, heartbeat_seconds: float = 15.0, retry_seconds: float = 1.0) -> None:
        self.heartbeat_seconds = checked_seconds(heartbeat_seconds, "heartbeat_seconds")
        self.retry_seconds = checked_seconds(retry_seconds, "retry_seconds")
        self.has_ended = False
        """Whether the streams were ended."""
        self._open = set[Follower]()
        self._closing = set[asyncio.Task[None]]()
        self._signals: EndingSignals | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._signals = EndingSignals(lambda: loop.call_soon_threadsafe(self.end))
        self._signals.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._signals is not None:
            self._signals.leave()
        self.end()
        if self._closing:
            await asyncio.wait(self._closing)

    def end(self) -> None:
        """Ends all streams, and those that are opened later. Call it on the event loop."""
        self.has_ended = True
        for deltas in self._open:
            task = spawned(deltas.aclose(), "closing a stream")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def open(
        self,
        session: Followed,
        after: int | str | None = None,
        *,
        form: StreamForm = SSE_DELTAS,
        until_turn_ends: bool = True,
    ) -> AsyncGenerator[str]:
        """The session as the text of a `text/event-stream`: a delta for each event after `after`, with its cursor as
        the id. `after` is the header `Last-Event-ID` as it came, a position, or a cursor. `form` says what else it may
        be: events, or lines of JSON.

        When nothing more is to come, because the last turn has ended or the session was deleted, the last event is an
        `end`, with the turn's id, status and reason: then a page closes its EventSource, and opens another one with its
        next message. A turn that was abandoned, and with which somebody can go on, is waited for. Unless
        `until_turn_ends`, only the end of the session is the end. Without an `end` the stream ends when the application
        does, or when the log cannot be read: then a browser connects again.

        Raises, before there is anything to send, SessionNotFoundError, UnknownPositionError for a position that the log
        does not have any more, StoreError, LogClosedError, and InvalidInputError.
        """
        cursor = cursor_of(after)
        items = await form.follower(session, cursor, until_turn_ends).begun()
        stream = _Stream(self, session, cursor, form)
        return stream.text(stream.until_turn_ends(items) if until_turn_ends else stream.until_session_ends(items))

    async def heard(self, items: Follower) -> AsyncGenerator[Delta | RecordedEvent | None]:
        """These deltas or events until the streams end, and None where none has come for as long as a heartbeat."""
        self._open.add(items)
        try:
            while not self.has_ended:
                if items.is_ready:  # a timeout costs more than what is there
                    yield await anext(items)
                    continue
                try:
                    async with asyncio.timeout(self.heartbeat_seconds):
                        item = await anext(items)
                except TimeoutError:
                    yield None
                except StopAsyncIteration:
                    return
                else:
                    yield item
        finally:
            self._open.discard(items)
            await items.aclose()


class _Stream:
    """One stream. `position` and `cursor` are those of the last event that was sent."""

    def __init__(self, streams: EventStreams, session: Followed, cursor: int | str, form: StreamForm) -> None:
        self._streams = streams
        self._session = session
        self._cursor = cursor
        self._position = Cursor.of(cursor).position
        self._form = form

    async def until_turn_ends(self, items: Follower) -> AsyncGenerator[str]:
        """The text, beginning with these items, up to the end of the last turn."""
        is_one = False
        while True:
            async with aclosing(self._texts(items, is_one)) as texts:
                async for text in texts:
                    yield text
            if self._streams.has_ended:
                return
            view = await self._session.view()
            is_one = view.version <= self._position
            if is_one and _has_ended(view):
                yield self._form.end(_said(view.turns[-1]))
                return
            # Where all is told, the turn was abandoned. Whoever goes on with it writes the next event.
            items = self._form.follower(self._session, self._cursor, until_turn_ends=not is_one)

    async def until_session_ends(self, items: Follower) -> AsyncGenerator[str]:
        """The text, beginning with these items, for as long as the session is there."""
        async with aclosing(self._texts(items)) as texts:
            async for text in texts:
                yield text
        if not self._streams.has_ended:
            yield self._form.end(_said(None))

    async def text(self, body: AsyncGenerator[str]) -> AsyncGenerator[str]:
        """This text with its beginning, and with its end where the session is gone or the log cannot be read."""
        if opening := self._form.opening(self._streams.retry_seconds):
            yield opening
        try:
            async with aclosing(body):
                async for text in body:
                    yield text
        except SessionNotFoundError:
            yield self._form.end(_said(None))
        except (StoreError, LogClosedError, UnknownPositionError) as error:
            logger.debug("a stream of events ends: %s", error)

    async def _texts(self, items: Follower, only_one: bool = False) -> AsyncGenerator[str]:
        """The items as text: each by itself, or those together that are there already."""
        together, length = list[str](), 0
        async with aclosing(self._streams.heard(items)) as heard:
            async for item in heard:
                if item is None:
                    yield self._form.heartbeat
                    continue
                together.append(self._told(item, items.cursor))
                length += len(together[-1])
                if self._form.joined and items.is_ready and length < JOINED_LENGTH:
                    continue
                yield "".join(together)
                together, length = [], 0
                if only_one:
                    break
        if together:
            yield "".join(together)

    def _told(self, item: Delta | RecordedEvent, cursor: str) -> str:
        self._position, self._cursor = item.position, cursor
        return self._form.told(item, cursor)


def _has_ended(view: SessionView) -> bool:
    """Whether the last turn has ended, and nobody is going to go on with it by themselves."""
    if not view.turns or not view.turns[-1].has_ended:
        return False
    return view.turns[-1].status != "abandoned" or not view.turns[-1].runs


def _said(turn: Turn | None) -> dict[str, str | None]:
    """What the end of a stream says."""
    if turn is None:
        return {"turn_id": None, "status": "deleted", "reason": ""}
    reason = turn.runs[-1].reason if turn.runs else turn.steps[-1].note or ""
    return {"turn_id": turn.turn_id, "status": turn.status, "reason": reason}


def cursor_of(after: int | str | None) -> int | str:
    """Where a reader goes on, who may have sent a position as a text, or nothing."""
    if isinstance(after, str) and after.isascii() and after.isdecimal() and len(after) <= _POSITION_DIGITS:
        return int(after)
    return after or 0
