"""Waiting for an answer, by those who may be in the way of it themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from turnlog.domain.errors import OwnTurnError, TurnInProgressError
from turnlog.infrastructure.append.turn_owner import owner_inside
from turnlog.infrastructure.tasks import cancel_and_wait, started

T = TypeVar("T")


class Waiting:
    """What an answer waits for itself, and who waits for the answer."""

    def __init__(self) -> None:
        self._run: str | None = None
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @contextmanager
    def on(self, busy: TurnInProgressError) -> Iterator[None]:
        """Inside, the answer waits for this turn, or step."""
        self._run = busy.step_id
        self._changed.set_result(None)
        self._changed = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            self._run = None

    async def until(self, future: asyncio.Future[T]) -> T:
        """What the future gives. It is not cancelled with the caller. Raises OwnTurnError where the answer waits for a
        turn that cannot end before the caller does: for one in whose block, or in whose tool, the caller is."""
        while not future.done():
            if (owner := owner_inside(self._run)) is not None:
                raise OwnTurnError(owner.turn_id)
            either: list[asyncio.Future[Any]] = [future, self._changed]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return await asyncio.shield(future)

    @asynccontextmanager
    async def task(self, future: asyncio.Future[T]) -> AsyncIterator[asyncio.Future[T]]:
        """The same, as a task that ends with the block."""
        task = started(self.until(future))
        try:
            yield task
        finally:
            await cancel_and_wait(task)
