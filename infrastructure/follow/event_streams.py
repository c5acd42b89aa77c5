"""Sessions as server-sent events, for web applications: what is sent, and how the streams of a process end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, Self

from turnlog.domain.errors import LogClosedError, SessionNotFoundError, StoreError, UnknownPositionError
from turnlog.domain.inputs import checked_seconds
from turnlog.domain.recorded import Cursor
from turnlog.infrastructure.follow.live import Deltas
from turnlog.infrastructure.signals import EndingSignals
from turnlog.infrastructure.tasks import spawned
from turnlog.projections.deltas import Delta
from turnlog.projections.turn import Turn
from turnlog.projections.view import SessionView

logger = logging.getLogger("turnlog")

HEARTBEAT = ":\n\n"
"""A comment, which a browser skips. A proxy closes a connection on which nothing comes, and a server finds out that a
browser is gone when it writes."""
_POSITION_DIGITS = 15


class Followed(Protocol):
    """What is needed of a Session."""

    def deltas(self, after: int | str = 0, until_turn_ends: bool = False) -> Deltas:
        """See Session."""

    async def view(self) -> SessionView:
        """See Session."""


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
        self._open = set[Deltas]()
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

    async def open(self, session: Followed, after: int | str | None = None) -> AsyncGenerator[str]:
        """The session as the text of a `text/event-stream`: a delta for each event after `after`, with its cursor as
        the id. `after` is the header `Last-Event-ID` as it came, a position, or a cursor.

        When nothing more is to come, because the last turn has ended or the session was deleted, the last event is an
        `end`, with the turn's id, status and reason: then a page closes its EventSource, and opens another one with its
        next message. A turn that was abandoned, and with which somebody can go on, is waited for. Without an `end` the
        stream ends when the application does, or when the log cannot be read: then a browser connects again.

        Raises, before there is anything to send, SessionNotFoundError, UnknownPositionError for a position that the log
        does not have any more, StoreError, LogClosedError, and InvalidInputError.
        """
        cursor = _cursor(after)
        deltas = await session.deltas(cursor, until_turn_ends=True).begun()
        return _Stream(self, session, cursor).text(deltas)

    async def heard(self, deltas: Deltas) -> AsyncGenerator[Delta | None]:
        """These deltas until the streams end, and None where none has come for as long as a heartbeat."""
        self._open.add(deltas)
        try:
            while not self.has_ended:
                try:
                    async with asyncio.timeout(self.heartbeat_seconds):
                        delta = await anext(deltas)
                except TimeoutError:
                    yield None
                except StopAsyncIteration:
                    return
                else:
                    yield delta
        finally:
            self._open.discard(deltas)
            await deltas.aclose()


class _Stream:
    """One stream. `position` and `cursor` are those of the last event that was sent."""

    def __init__(self, streams: EventStreams, session: Followed, cursor: int | str) -> None:
        self._streams = streams
        self._session = session
        self._cursor = cursor
        self._position = Cursor.of(cursor).position

    async def text(self, deltas: Deltas) -> AsyncGenerator[str]:
        """The text, beginning with these deltas."""
        yield f"retry: {round(self._streams.retry_seconds * 1000)}\n\n"
        is_one = False
        try:
            while True:
                async with aclosing(self._streams.heard(deltas)) as heard:
                    async for delta in heard:
                        yield HEARTBEAT if delta is None else self._told(delta, deltas.cursor)
                        if delta is not None and is_one:
                            break
                if self._streams.has_ended:
                    return
                view = await self._session.view()
                is_one = view.version <= self._position
                if is_one and _has_ended(view):
                    yield _end(view.turns[-1])
                    return
                # Where all is told, the turn was abandoned. Whoever goes on with it writes the next event.
                deltas = self._session.deltas(self._cursor, until_turn_ends=not is_one)
        except SessionNotFoundError:
            yield _end(None)
        except (StoreError, LogClosedError, UnknownPositionError) as error:
            logger.debug("a stream of events ends: %s", error)

    def _told(self, delta: Delta, cursor: str) -> str:
        self._position, self._cursor = delta.position, cursor
        return delta.to_sse(cursor)


def _has_ended(view: SessionView) -> bool:
    """Whether the last turn has ended, and nobody is going to go on with it by themselves."""
    if not view.turns or not view.turns[-1].has_ended:
        return False
    return view.turns[-1].status != "abandoned" or not view.turns[-1].runs


def _end(turn: Turn | None) -> str:
    """The last event. Without an id, so that it does not change what a browser comes back with."""
    said: dict[str, str | None] = {"turn_id": None, "status": "deleted", "reason": ""}
    if turn is not None:
        reason = turn.runs[-1].reason if turn.runs else turn.steps[-1].note or ""
        said = {"turn_id": turn.turn_id, "status": turn.status, "reason": reason}
    return f"event: end\ndata: {json.dumps(said)}\n\n"


def _cursor(after: int | str | None) -> int | str:
    """Where a reader goes on, who may have sent a position as a text, or nothing."""
    if isinstance(after, str) and after.isascii() and after.isdecimal() and len(after) <= _POSITION_DIGITS:
        return int(after)
    return after or 0
