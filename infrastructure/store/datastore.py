"""The pool of connections: eventsourcing's datastore, on a whole connection URL and with an end to every wait."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import psycopg
from eventsourcing.persistence import OperationalError
from eventsourcing.postgres import ConnectionPool, PostgresDatastore
from psycopg import Connection
from psycopg.rows import DictRow

from turnlog.domain.errors import UnfitDatabaseError
from turnlog.infrastructure.store.connecting import Door

POOL_SECONDS = 0.25
"""Largest number of seconds that a thread waits for the pool before it asks again."""


class UrlDatastore(PostgresDatastore):
    """The library's datastore with two differences. The URL may have all of libpq's options (sslmode, options, several
    hosts, ...). A server that accepts a connection and then does not answer is given up after `timeout` seconds."""

    def __init__(self, url: str, *, schema: str, pool_size: int, timeout: float) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", schema=schema)
        self.door = Door(url, timeout)
        self.pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
            connection_class=_ThroughTheDoor,
            kwargs={"door": self.door},
            min_size=0,
            max_size=pool_size,
            max_idle=self.door.idle_seconds,
            open=False,
            # The pool waits shortly and does not connect again by itself, because its pauses grow. Whoever needs a
            # connection asks again until its time is up, and so finds a server soon after it came back.
            timeout=min(timeout, POOL_SECONDS),
            reconnect_timeout=0,
        )
        self._watchdog = Watchdog(timeout)

    def until(self, deadline: float) -> AbstractContextManager[None]:
        """Ends what the block, on this thread, waits for at this time (of `time.monotonic`)."""
        return self._watchdog.until(deadline)

    def register_type_adapters(self) -> None:
        """Does nothing. The library would connect to look for its composite types, and no recorder here has any."""

    @contextmanager
    def get_connection(self) -> Iterator[Connection[DictRow]]:
        """A connection of the pool, for one transaction or statement. Raises the library's PersistenceErrors, and
        UnfitDatabaseError where a connection was made and could not be used."""
        try:
            with super().get_connection() as connection, self._watchdog.watching(connection):
                # The pool closes one that was not in use for so long, and looks as often.
                self.pool.max_idle = self.door.idle_seconds
                yield connection
        except OperationalError as error:
            if isinstance(self.door.failure, UnfitDatabaseError):
                raise self.door.failure from error
            raise

    def close(self) -> None:
        """Ends the connections."""
        super().close()
        # The library's __del__ also calls this for an object whose __init__ has failed.
        if hasattr(self, "_watchdog"):
            self._watchdog.close()


class _ThroughTheDoor(Connection[DictRow]):
    """What the pool makes its connections with."""

    @classmethod
    def connect(cls, _conninfo: str = "", *, door: Door, **_options: Any) -> Connection[DictRow]:  # type: ignore[override]
        """A connection that was looked at."""
        return door.connect()


class Watchdog:
    """Shuts the socket of a connection that has been in use for longer than `seconds`, or at the deadline of the call.

    libpq has no time-out for an answer, and the kernel of a frozen server still answers keepalives. Without this, a
    read and all reads after it would wait for ever. When its socket is shut, libpq raises OperationalError.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._busy: dict[int, tuple[float, Connection[Any]]] = {}
        self._deadlines = threading.local()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, connection: Connection[Any]) -> Iterator[None]:
        """Watches the connection while the block runs."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="turnlog-watchdog", daemon=True)
            self._thread.start()
        deadline = getattr(self._deadlines, "until", math.inf)
        self._busy[id(connection)] = (min(deadline, time.monotonic() + self._seconds), connection)
        try:
            yield
        finally:
            self._busy.pop(id(connection), None)

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """See UrlDatastore.until."""
        self._deadlines.until = deadline
        try:
            yield
        finally:
            del self._deadlines.until

    def close(self) -> None:
        """Ends the watching."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._seconds / 10):
            now = time.monotonic()
            for key, (deadline, connection) in list(self._busy.items()):
                if now > deadline and key in self._busy:
                    self._busy.pop(key, None)
                    _shut(connection)


def _shut(connection: Connection[Any]) -> None:
    # Not on a copy of the descriptor: there may be none left. The socket object is detached, or it would close libpq's.
    with suppress(OSError, psycopg.Error):
        borrowed = socket.socket(fileno=connection.fileno())
        try:
            borrowed.shutdown(socket.SHUT_RDWR)
        finally:
            borrowed.detach()
