"""The chunks of a stream between its reader and its consumer: read, on their way to the log, not yet shown.

How far the reader may be ahead grows with what was shown: one chunk in `SHARE`, up to a limit. So a consumer that
leaves early leaves little in the log that it was not shown, and one that stays is soon served at full speed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Chunk = TypeVar("Chunk")

SHARE = 16


class ReadAhead(Generic[Chunk]):
    """A queue of chunks, each with the future of its append. One reader fills it, one consumer empties it.

    `limit` is the largest number of chunks that the reader may be ahead; None for a reader that waits for nobody.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._slots: deque[tuple[Chunk, asyncio.Future[int] | None]] = deque()
        self._shown = 0
        self._is_asked = self._is_closed = False
        self._consumer: asyncio.Future[None] | None = None
        self._reader: asyncio.Future[None] | None = None
        self.has_consumer = True
        """Whether anybody takes chunks. Without a consumer none are queued."""

    # For the reader

    @property
    def is_full(self) -> bool:
        """Whether the reader has to wait for the consumer."""
        if self._limit is None:
            return False
        return len(self._slots) >= min(self._shown // SHARE, self._limit) + self._is_asked

    async def room(self) -> None:
        """Waits until the reader may go on."""
        while self.is_full:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def put(self, chunk: Chunk, stored: asyncio.Future[int] | None) -> None:
        """Queues a chunk. `stored` is the future of its append; None for a chunk that has no events."""
        if self.has_consumer:
            self._slots.append((chunk, stored))
            self.wake()

    def stay_level(self) -> None:
        """From now on the reader reads only what the consumer asks for."""
        if self._limit is not None:
            self._limit = 0

    def close(self) -> None:
        """The stream has no more chunks. Those that are queued can still be taken."""
        self._is_closed = True
        self.wake()

    # For the consumer

    async def has_next(self) -> bool:
        """Waits until the next chunk is durable. False when no more come, or the consumer has left."""
        self._is_asked = True
        _wake(self._reader)
        try:
            while not self._is_durable():
                if not self.has_consumer or (self._is_closed and not self._slots):
                    return False
                await self.change()
            return True
        finally:
            self._is_asked = False

    def take(self) -> Chunk:
        """The next chunk, after `has_next`."""
        self._shown += 1
        return self._slots.popleft()[0]

    def leave(self) -> None:
        """The consumer has gone."""
        self.has_consumer = False
        self._slots.clear()
        self.wake()

    async def change(self) -> None:
        """Waits for the next `wake`."""
        self._consumer = asyncio.get_running_loop().create_future()
        await self._consumer

    def wake(self) -> None:
        """Makes the consumer look again, as when an append was stored or has failed."""
        _wake(self._consumer)

    def _is_durable(self) -> bool:
        stored = self._slots[0][1] if self._slots else None
        if stored is not None and stored.done() and (stored.cancelled() or stored.exception()):
            self._slots.clear()  # what follows was decided on top of it, and fails with it
        return bool(self._slots) and (stored is None or stored.done())


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
