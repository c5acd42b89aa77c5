"""What Redis has of one session, taken away and put back, so that each read of a benchmark finds the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any
from uuid import UUID

from redis import Redis

from turnlog.domain.errors import TurnlogError

State = dict[bytes, bytes]
"""By key, what DUMP gives of it."""

_PATIENCE_SECONDS = 30.0
_WRITTEN_SECONDS = 0.1
_SETTLED_SECONDS = 0.5
_LOOK_SECONDS = 0.002


class CachedView:
    """The keys that name a session, whatever is in them."""

    def __init__(self, redis: Redis, session_id: UUID) -> None:
        self._redis: Any = redis
        self._pattern = f"*{session_id}*"
        self._keys: set[bytes] = set()

    async def taken(self, read: Callable[[], Awaitable[None]], unlike: State | None = None) -> State:
        """What is there once these reads add nothing any more, and not `unlike`. Raises TurnlogError where nothing
        comes: then this does not measure what it says."""
        before, until = dict[bytes, bytes](), perf_counter() + _PATIENCE_SECONDS
        while perf_counter() < until:
            await read()
            await asyncio.sleep(_WRITTEN_SECONDS)
            state = {key: self._redis.dump(key) for key in self._redis.scan_iter(match=self._pattern, count=1_000)}
            if state == before and state not in ({}, unlike):
                self._keys |= set(state)
                return state
            before = state
        raise TurnlogError("the view of the benchmark's session was not cached")

    def put(self, state: State) -> None:
        """Puts this, and nothing else, into Redis."""
        gone = self._keys - set(state)
        if gone:
            self._redis.delete(*gone)
        for key, value in state.items():
            self._redis.restore(key, 0, value, replace=True)

    async def settled(self) -> None:
        """Waits until what was read has been written back. What was put here never expires; turnlog's own does."""
        until = perf_counter() + _SETTLED_SECONDS
        while perf_counter() < until and not self._expires():  # noqa: ASYNC110 only Redis knows
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(_LOOK_SECONDS)  # for a second entry that is written with the first

    def _expires(self) -> bool:
        return any(self._redis.pttl(key) > 0 for key in self._keys)
