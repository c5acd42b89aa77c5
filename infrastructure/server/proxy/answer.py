"""The answer of a provider, on its way to its client and to whoever records it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from math import inf
from typing import Any, NamedTuple

import httpx

from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.server.proxy.feed import Feed
from turnlog.infrastructure.server.proxy.outlet import Outlet
from turnlog.infrastructure.server.proxy.reading import PieceReader, reader_of
from turnlog.infrastructure.server.proxy.upstreams import Forwarded, Headers, Upstreams, passed_on, said_by_body
from turnlog.infrastructure.tasks import cancel_and_wait, started

MOST_REFUSAL = 64 * 1024
"""Bytes of a refusal that are looked at."""


class Head(NamedTuple):
    """The beginning of an answer. `waits`: nothing of it goes out before all of it is durable. `session_id` is where it
    is recorded, if it is."""

    status: int
    headers: Headers
    waits: bool
    session_id: str | None


class UpstreamRefusedError(Exception):
    """The provider has refused the request. `status_code` and `body` are what it says."""

    def __init__(self, status_code: int, body: Any) -> None:
        super().__init__(f"the provider answered {status_code}")
        self.status_code = status_code
        self.body = body


class StoppedError(Exception):
    """The answer was not waited for: somebody has stopped the turn, or the server shuts down."""


class Answer:
    """`head` is its beginning, or why there is none. `outlet` is where the client takes it, `feed` where the log does.
    `error` is why it is not whole. `limit` is the largest answer in one, and the longest line of one that streams.
    `is_read`: somebody wants its chunks."""

    def __init__(self, upstreams: Upstreams, forwarded: Forwarded, limit: int, *, is_read: bool = True) -> None:
        self._upstreams = upstreams
        self._forwarded = forwarded
        self._limit = limit
        self._is_read = is_read
        self._session_id: str | None = None
        self._reading: asyncio.Task[None] | None = None
        self._broken: Exception | None = None
        self.outlet = Outlet()
        self.feed = Feed()
        self.is_asked = False
        self.error: Exception | None = None
        self.head: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self.head.add_done_callback(_seen)

    @property
    def has_begun(self) -> bool:
        """Whether its beginning may have gone out."""
        return self.head.done()

    def recorded_in(self, session_id: object) -> Asking:
        """What asks the provider when it is awaited, for a recording in this session."""
        self._session_id = str(session_id)
        return Asking(self)

    async def ask(self) -> Feed:
        """Asks the provider, and gives the chunks of its answer. Raises UpstreamRefusedError, and what httpx raises."""
        self.is_asked = True
        response = await self._upstreams.send(self._forwarded)
        headers = [one for one in passed_on(response.headers.raw) if one[0].lower() != b"date"]
        if response.status_code >= 300:
            await self._refused(response, headers)
        reader, why = self._reader(response)
        waits = self._is_read and not (reader is not None and reader.is_stream)
        self._reading = started(self._read(response, reader, waits))
        if why is not None:
            self.feed.end(why)
        self._begin(Head(response.status_code, headers, waits, self._session_id))
        return self.feed

    async def rest(self) -> None:
        """Waits until all of it was read, while nothing of it is recorded any more. Raises what httpx has raised."""
        self.outlet.open_up()
        await self.feed.aclose()
        if self._reading is not None:
            await asyncio.wait([self._reading])
        if self._broken is not None:
            raise self._broken

    def end(self, error: Exception | None = None, last: bytes | None = None) -> None:
        """It is whole, or it has broken off because of an error; then `last` is the last thing that the client gets of
        a stream."""
        if error is None or isinstance(error, UpstreamRefusedError):
            self.outlet.finish()
            return
        if self.error is None:
            self.error = error
        if not self.head.done():
            self.head.set_exception(error)
        self.outlet.fail(last)

    def leave(self) -> None:
        """The client has gone. What nobody records is not read on either."""
        self.outlet.leave()
        if not self._is_read and self._reading is not None:
            self._reading.cancel()

    async def close(self) -> None:
        """Stops reading. What is not whole now has broken off."""
        await cancel_and_wait(self._reading)
        if not self.outlet.is_whole:
            self.end(StoppedError("the answer was stopped"))

    def _begin(self, head: Head) -> None:
        if not self.head.done():
            self.head.set_result(head)

    def _reader(self, response: httpx.Response) -> tuple[PieceReader | None, InvalidInputError | None]:
        if not self._is_read:
            return None, None
        kind, encoding = (response.headers.get(name, "") for name in ("content-type", "content-encoding"))
        try:
            return reader_of(kind, encoding, self._limit), None
        except InvalidInputError as error:
            return None, error

    async def _refused(self, response: httpx.Response, headers: Headers) -> None:
        seen = bytearray()
        try:
            async for piece in response.aiter_raw():
                if response.num_bytes_downloaded > self._limit:
                    raise httpx.RemoteProtocolError("the refusal is too large")
                self.outlet.put(piece, inf)
                seen += piece[: MOST_REFUSAL - len(seen)]
        finally:
            await response.aclose()
        self._begin(Head(response.status_code, headers, True, self._session_id))
        raise UpstreamRefusedError(response.status_code, said_by_body(bytes(seen), self._forwarded.secrets))

    async def _read(self, response: httpx.Response, reader: PieceReader | None, waits: bool) -> None:
        try:
            async for piece in response.aiter_raw():
                reader = self._take(piece, reader)
                is_last = waits or reader is None or reader.has_ended
                self.outlet.put(piece, inf if is_last else self.feed.count)
                if reader is None or not waits:  # what waits is limited by its reader
                    await self.outlet.room()
                    await self.feed.room()
            if reader is not None:
                self.feed.put(reader.rest())
            self.feed.end()
        except InvalidInputError as error:
            self.feed.end(error)
        except (httpx.HTTPError, httpx.StreamError) as error:
            self._broken = error
            self.feed.end(error)
        finally:
            await response.aclose()

    def _take(self, piece: bytes, reader: PieceReader | None) -> PieceReader | None:
        """Reads a piece. What cannot be read is still passed on, and nothing behind it is read."""
        if reader is None:
            return None
        try:
            self.feed.put(reader.take(piece))
        except InvalidInputError as error:
            self.feed.end(error)
            return None
        return reader


class Asking:
    """An awaitable that asks the provider. Where it is not awaited nothing was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __await__(self) -> Generator[Any, Any, Feed]:
        return self._answer.ask().__await__()


def _seen(head: asyncio.Future[Head]) -> None:
    if not head.cancelled():
        head.exception()
