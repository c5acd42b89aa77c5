"""Where sessions stand: the position of the last event of each, asked for many at once.

A reader whose cached answer stands there has nothing to read. It is asked on the loop, through a wire of its own: a
thread for it would cost more than the answer.
"""

from __future__ import annotations

import asyncio
import logging
from struct import Struct
from uuid import UUID

import psycopg

from turnlog.infrastructure.store import arrays
from turnlog.infrastructure.store.wire import Wire

logger = logging.getLogger("turnlog")

PARAMETER_TYPES = [arrays.ARRAY_OF[arrays.UUID]]
_ARRAY_HEADER = 20
_INT8 = Struct(">xxxxq")
"""An element: its length, which is known, and its value."""


class Positions:
    """Asks in batches: while one is under way, the next one gathers."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[UUID, asyncio.Future[int | None]]] = []
        self._under_way: list[tuple[UUID, asyncio.Future[int | None]]] = []
        self._opening: asyncio.Task[None] | None = None
        self._is_closed = False

    def ask(self, session_id: UUID) -> asyncio.Future[int | None]:
        """The position of the session's last event, 0 if there is none; None if Postgres does not say: a read does,
        for it waits and tries again."""
        answer: asyncio.Future[int | None] = self._loop.create_future()
        if self._is_closed:
            answer.set_result(None)
            return answer
        self._waiting.append((session_id, answer))
        # At once, for whoever asks has something to do until the answer comes.
        if not self._under_way:
            self._send()
        return answer

    def close(self) -> None:
        """Ends the connection. Who still waits is told nothing more."""
        self._is_closed = True
        if self._opening is not None:
            self._opening.cancel()
        self._wire.close()
        self._answered(None, None)  # a task that is cancelled before its first step does nothing at all

    def _send(self) -> None:
        self._under_way, self._waiting = self._waiting, []
        if self._wire.is_open:
            self._send_open()
        else:
            self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            await self._wire.open()
        except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
            logger.debug("no connection to ask for positions: %s", error)
            self._answered(None, None)
        else:
            self._send_open()

    def _send_open(self) -> None:
        self._wire.send([arrays.uuids([session_id.bytes for session_id, _ in self._under_way])], self._answered)

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
