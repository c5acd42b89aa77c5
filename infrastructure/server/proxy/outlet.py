"""An answer between its provider and its client: each piece goes on once what it says is durable."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from math import inf

MOST_UNSENT = 1024 * 1024
"""Bytes that wait for their client: then its provider waits, too."""


class Outlet:
    """Pieces of bytes, each with the number of chunks that have to be durable before. One writer, one reader.

    `is_whole`: all was put in, and may go out. A reader that leaves holds up nobody any more.
    """

    def __init__(self, most_unsent: int = MOST_UNSENT) -> None:
        self._pieces = deque[tuple[bytes, float]]()
        self._durable: float = 0
        self._unsent = 0
        self._most_unsent = most_unsent
        self._is_over = False
        self._is_left = False
        self._change = asyncio.Event()
        self._room = asyncio.Event()
        self.is_whole = False

    # For the writer

    def put(self, piece: bytes, needs: float) -> None:
        """Adds a piece, which goes out when so many chunks are durable."""
        if not self._is_left:
            self._pieces.append((piece, needs))
            self._unsent += len(piece)
            if needs <= self._durable:
                self._change.set()

    async def room(self) -> None:
        """Waits while too much is unsent."""
        while self._unsent > self._most_unsent and not self._is_left:
            self._room.clear()
            await self._room.wait()

    def confirm(self) -> None:
        """One more chunk is durable."""
        self._durable += 1
        if self._pieces and self._pieces[0][1] <= self._durable:
            self._change.set()

    def open_up(self) -> None:
        """Nothing waits any more: what comes from now on is not recorded."""
        self._durable = inf
        self._change.set()

    def finish(self) -> None:
        """The answer is whole, and durable."""
        self.is_whole = True
        self._durable = inf
        self._end()

    def fail(self, last: bytes | None = None) -> None:
        """The answer has broken off: what is durable goes out. With `last` that goes out behind it, as the end."""
        if self._is_over:
            return
        while self._pieces and self._pieces[-1][1] > self._durable:
            self._pieces.pop()
        if last is not None:
            self._pieces.append((last, 0))
            self.is_whole = True
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._change.set()
        self._room.set()

    # For the reader

    async def parts(self) -> AsyncGenerator[bytes]:
        """What goes out, as soon as it may."""
        while True:
            if ready := self._ready():
                yield ready
            elif self._is_over:
                return
            else:
                self._change.clear()
                await self._change.wait()

    async def settled(self) -> None:
        """Waits until all is there, or until nothing waits any more."""
        while not self._is_over and self._durable < inf:
            self._change.clear()
            await self._change.wait()

    def leave(self) -> None:
        """The reader has gone."""
        self._is_left = True
        self._pieces.clear()
        self._unsent = 0
        self._room.set()

    def _ready(self) -> bytes:
        parts = list[bytes]()
        while self._pieces and self._pieces[0][1] <= self._durable:
            parts.append(self._pieces.popleft()[0])
        if not parts:
            return b""
        ready = parts[0] if len(parts) == 1 else b"".join(parts)
        self._unsent -= len(ready)
        self._room.set()
        return ready
