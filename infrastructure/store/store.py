"""The event store as the rest of turnlog sees it: its parts, by what they read, and the connections they share.

Appends go through `group_commit`, on a connection of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow

from turnlog.domain.errors import StoreUnavailableError, TurnlogError
from turnlog.infrastructure.store import positions
from turnlog.infrastructure.store.accepted import AcceptedIds
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.events import StoredEvents
from turnlog.infrastructure.store.kept import KeptViews
from turnlog.infrastructure.store.leases import Leases
from turnlog.infrastructure.store.lists import SessionLists
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.infrastructure.store.packing import PARAMETER_TYPES
from turnlog.infrastructure.store.positions import Positions
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.schema import Schema
from turnlog.infrastructure.store.threads import StoreThreads
from turnlog.infrastructure.store.wire import Wire

T = TypeVar("T")

READ_THREADS = 4


class EventStore:
    """Opens connections when they are first used. `close` ends them."""

    def __init__(self, url: str, *, schema: str = "public", timeout: float = 5.0) -> None:
        self._timeout = timeout
        self._datastore = UrlDatastore(url, schema=schema, pool_size=READ_THREADS + 2, timeout=timeout)
        self.recorder = recorder = BatchRecorder(self._datastore)
        self.mapper = EventMapper()
        self._threads = StoreThreads("turnlog-reader", READ_THREADS, recorder, timeout)
        # Leases are renewed beside all reads and not after them: four slow reads would else end what is written here.
        self._lease_thread = StoreThreads("turnlog-leases", 1, recorder, timeout)
        self.schema = Schema(self._threads, recorder)
        self.events = StoredEvents(self._threads, recorder, self.mapper)
        self.accepted = AcceptedIds(self._threads.fetch)
        self.lists = SessionLists(self._threads.fetch)
        self.kept = KeptViews(self._threads, recorder)
        self.leases = Leases(self._lease_thread.fetch)
        self.positions = Positions(self._positions_wire)

    def append_wire(self) -> Wire:
        """A connection of its own for appends. It is opened when it is first used."""
        statement = self.recorder.append_statement
        return Wire(self._datastore.door, "turnlog_append", statement, PARAMETER_TYPES, self._timeout)

    def _positions_wire(self) -> Wire:
        statement = self.recorder.statements["positions"].as_string()
        return Wire(self._datastore.door, "turnlog_positions", statement, positions.PARAMETER_TYPES, self._timeout)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Runs blocking work on `recorder` or its datastore as reads are run: on a thread of the store's, again while
        the connection is lost, and with the store's errors. It must be safe to repeat."""
        return await self._threads.run(function, *args)

    async def connect(self) -> Connection[DictRow]:
        """A connection beside the pool, for a transaction that is open for long. Raises StoreUnavailableError."""
        try:
            return await asyncio.to_thread(self._datastore.door.connect, autocommit=False)
        except psycopg.Error as error:
            raise StoreUnavailableError(f"Postgres: {self._datastore.door.why(error)}") from error

    def refuse(self, error: Callable[[], TurnlogError]) -> None:
        """Does nothing from now on, and raises this error instead."""
        for part in (self._threads, self._lease_thread, self._datastore.door):
            part.refuse(error)

    async def close(self) -> None:
        """Ends threads and connections. Later reads raise LogClosedError."""
        self.positions.close()
        await asyncio.gather(self._threads.close(), self._lease_thread.close())
        await asyncio.to_thread(self._datastore.close)
