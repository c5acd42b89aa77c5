"""The positions at which sessions are: the position of the last event of each, asked for many sessions at once.

A reader whose cached answer is of that position has nothing to read. The question is asked on the loop, on a wire of
its own: a thread for it would cost more than the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from struct import Struct
from uuid import UUID

import psycopg

from turnlog.infrastructure.store import arrays
from turnlog.infrastructure.store.wire import Wire

logger = logging.getLogger("turnlog")

PARAMETER_TYPES = [arrays.ARRAY_OF[arrays.UUID]]
_ARRAY_HEADER = 20
_INT8 = Struct(">xxxxq")
"""An element of the answer: four bytes of length, which is known, and the value."""

Question = tuple[UUID, asyncio.Future[int | None]]


class Positions:
    """Asks in batches: while one batch is under way, the next one gathers."""

    def __init__(self, new_wire: Callable[[], Wire]) -> None:
        self._new_wire = new_wire
        self._wire: Wire | None = None
        self._waiting: list[Question] = []
        self._under_way: list[Question] = []
        self._opening: asyncio.Task[None] | None = None
        self._is_closed = False

    def ask(self, session_id: UUID) -> asyncio.Future[int | None]:
        """The position of the session's last event, 0 if it has none. None if Postgres does not say at once: reading
        does, because a read waits and tries again."""
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        if self._is_closed:
            answer.set_result(None)
            return answer
        self._waiting.append((session_id, answer))
        # Sent at once, because whoever asks has something to do until the answer comes.
        if not self._under_way:
            self._send()
        return answer

    def close(self) -> None:
        """Ends the connection. Whoever still waits is told None."""
        self._is_closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._wire is not None:
            self._wire.close()
        self._answered(None, None)  # a task that is cancelled before its first step does nothing at all

    def _send(self) -> None:
        self._under_way, self._waiting = self._waiting, []
        if self._wire is None:
            self._wire = self._new_wire()
        if self._wire.is_open:
            self._send_on(self._wire)
        else:
            self._opening = asyncio.create_task(self._open(self._wire))

    async def _open(self, wire: Wire) -> None:
        try:
            await wire.open()
        except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
            logger.debug("no connection to ask for positions: %s", error)
            self._answered(None, None)
        else:
            self._send_on(wire)

    def _send_on(self, wire: Wire) -> None:
        wire.send([arrays.uuids([session_id.bytes for session_id, _ in self._under_way])], self._answered)

    def _answered(self, value: bytes | None, _error: psycopg.Error | None) -> None:
        asked, self._under_way = self._under_way, []
        positions = _INT8.iter_unpack(value[_ARRAY_HEADER:]) if value else ((None,) for _ in asked)
        for (_, answer), (position,) in zip(asked, positions, strict=True):
            if not answer.done():
                answer.set_result(position)
        if not self._waiting:
            return
        if self._is_closed:
            self._under_way, self._waiting = self._waiting, []
            self._answered(None, None)
        else:
            self._send()
