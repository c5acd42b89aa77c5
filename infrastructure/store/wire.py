"""A connection for one statement, which is sent again and again and is driven by the event loop.

No thread waits for the answer. A thread beside a busy event loop gets the interpreter back only after its switch
interval (5 ms), which would be most of a commit. To hand a batch to a thread, and its outcome back, costs a lone stream
as much as the round trip of the commit. psycopg makes the connection, and the statement goes through its libpq.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from turnlog.infrastructure.store.alarm import Alarm
from turnlog.infrastructure.store.connecting import Door, is_pooled

Answered = Callable[[bytes | None, psycopg.Error | None], None]
"""Called once, on the loop, with the value that the statement gave or with what went wrong."""


class Wire:
    """Sends one statement again and again, with other parameters each time. It gives its connection up when there is no
    answer for `timeout` seconds, and when nothing was sent for the `idle_seconds` of the door. The statement is
    prepared, but behind a pooler."""

    def __init__(self, door: Door, name: str, statement: str, types: Sequence[int], timeout: float) -> None:
        self._door = door
        self._name = name.encode()
        self._statement = statement.encode()
        self._types = types
        self._formats = [Format.BINARY] * len(types)
        self.patience = timeout
        """Seconds to wait for a connection, and for an answer."""
        self._loop = asyncio.get_running_loop()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._libpq: PGconn | None = None
        self._is_prepared = False
        self.number = -1
        """The number of the connection, from 0 on; -1 before the first."""
        self._socket = -1
        self._answered: Answered | None = None
        self._result: PGresult | None = None
        self._deadline = Alarm(self._loop, lambda: self._lost("no answer in time"))
        self._idle = Alarm(self._loop, self._unused)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._libpq is not None

    async def open(self) -> None:
        """Connects, and prepares the statement. Raises psycopg.Error, TimeoutError and UnfitDatabaseError."""
        async with asyncio.timeout(self.patience):
            connection = await self._door.connect_async()
            try:
                await self._prepare(connection)
            except BaseException:
                await connection.close()
                raise
        self._connection, self._libpq = connection, connection.pgconn
        self.number += 1
        self._libpq.nonblocking = 1
        self._socket = self._libpq.socket
        self._loop.add_reader(self._socket, self._readable)
        self._idle.set(self._loop.time() + self._door.idle_seconds)

    async def _prepare(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._is_prepared = not is_pooled(connection)
        if not self._is_prepared:
            return
        connection.pgconn.send_prepare(self._name, self._statement, self._types)
        (result,) = await connection.wait(execute(connection.pgconn))
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)

    def close(self) -> None:
        """Ends the connection. The answer to a statement that is under way is OperationalError."""
        self._lost("the connection was closed")

    def send(self, parameters: Sequence[bytes | None], answered: Answered) -> None:
        """Sends the statement, with parameters in the binary format. The connection must be open, and no statement may
        be under way on it. Whatever goes wrong is an answer, too."""
        assert self._libpq is not None  # noqa: S101 is_open says so
        self._answered = answered
        self._deadline.set(self._loop.time() + self.patience)
        try:
            if self._is_prepared:
                self._libpq.send_query_prepared(self._name, parameters, self._formats, Format.BINARY)
            else:
                self._libpq.send_query_params(self._statement, parameters, self._types, self._formats, Format.BINARY)
            self._flush()
        except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
            self._lost(str(error))

    async def call(self, parameters: Sequence[bytes | None]) -> bytes | None:
        """Sends the statement and returns its value. Connects first where there is no connection. Raises psycopg.Error
        and TimeoutError."""
        if not self.is_open:
            await self.open()
        waiting: asyncio.Future[bytes | None] = self._loop.create_future()

        def answered(value: bytes | None, error: psycopg.Error | None) -> None:
            if waiting.done():
                return
            if error is None:
                waiting.set_result(value)
            else:
                waiting.set_exception(error)

        self.send(parameters, answered)
        return await waiting

    # Called by the loop when the socket is ready

    def _flush(self) -> None:
        if self._libpq is not None and self._libpq.flush():
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket)
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001 see send
            self._lost(str(error))

    def _readable(self) -> None:
        libpq = self._libpq
        if libpq is None:
            return
        try:
            libpq.consume_input()
            # The server may send something while a large batch still goes out.
            self._flush()
            while self._answered is not None and not libpq.is_busy():
                result = libpq.get_result()
                if result is None:
                    self._complete()
                else:
                    self._result = self._result or result
        except Exception as error:  # noqa: BLE001 see send
            self._lost(str(error))

    def _complete(self) -> None:
        result, self._result = self._result, None
        if result is None:
            self._lost("the server ended the connection")
        elif result.status == ExecStatus.TUPLES_OK:
            self._answer(result.get_value(0, 0), None)
        else:
            self._answer(None, error_from_result(result))

    def _answer(self, value: bytes | None, error: psycopg.Error | None) -> None:
        answered, self._answered = self._answered, None
        self._deadline.clear()
        if self.is_open:
            self._idle.set(self._loop.time() + self._door.idle_seconds)
        if answered is not None:
            answered(value, error)

    def _unused(self) -> None:
        if self._answered is None:
            self._lost("nobody used it")

    def _lost(self, why: str) -> None:
        """Gives the connection up."""
        libpq, self._libpq, self._result = self._libpq, None, None
        if libpq is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            libpq.finish()
            self._connection = None
        self._deadline.stop()
        self._idle.stop()
        self._answer(None, psycopg.OperationalError(why.strip()))
