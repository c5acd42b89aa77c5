"""The chunks of an answer on their way to whoever records them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

MOST_CHUNKS = 1_000
"""Chunks that wait to be recorded: then their provider waits, too."""


class Feed:
    """An async iterator of chunks. Closing it does not close the answer: that goes on to its client."""

    def __init__(self) -> None:
        self._chunks = deque[dict[str, Any]]()
        self._error: BaseException | None = None
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._is_left = False
        self.is_over = False
        """Whether all was put in, or it has failed."""
        self.count = 0
        """Chunks that were put in."""

    def put(self, chunks: Iterable[dict[str, Any]]) -> None:
        """Adds chunks. After the end they are dropped."""
        if self.is_over:
            return
        before = len(self._chunks)
        self._chunks += chunks
        self.count += len(self._chunks) - before
        self._wake.set()

    async def room(self) -> None:
        """Waits while too much is not recorded."""
        while len(self._chunks) > MOST_CHUNKS and not self._is_left:
            self._room.clear()
            await self._room.wait()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; with an error, because that has happened."""
        if not self.is_over:
            self.is_over = True
            self._error = error
            self._wake.set()

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while not self._chunks:
            if self.is_over:
                error, self._error = self._error, None
                raise error or StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        self._room.set()
        return self._chunks.popleft()

    async def aclose(self) -> None:
        """Whoever records has had enough."""
        self._is_left = True
        self._chunks.clear()
        self._room.set()
