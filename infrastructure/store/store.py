"""The event store as the rest of turnlog sees it: its parts, by what they read, and the connections they share.

Appends go through `group_commit`, on a connection of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow

from turnlog.domain.errors import StoreUnavailableError, TurnlogError
from turnlog.infrastructure.store import standings
from turnlog.infrastructure.store.accepted import AcceptedResults
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.events import StoredEvents
from turnlog.infrastructure.store.kept import KeptViews
from turnlog.infrastructure.store.kept_states import KeptStates
from turnlog.infrastructure.store.leases import Leases
from turnlog.infrastructure.store.lists import SessionLists
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.infrastructure.store.packing import PARAMETER_TYPES
from turnlog.infrastructure.store.prefixes import Prefixes
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.schema import Schema
from turnlog.infrastructure.store.standings import Standing, Standings, parse_standings
from turnlog.infrastructure.store.threads import StoreThreads
from turnlog.infrastructure.store.whole import WholeAppend
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
        self.accepted = AcceptedResults(self._threads.fetch)
        self.lists = SessionLists(self._threads.fetch, self._threads.fetch_by_index)
        self.kept = KeptViews(self._threads, recorder)
        self.states = KeptStates(self._threads)
        self.prefixes = Prefixes(self._threads)
        self.leases = Leases(self._lease_thread.fetch)
        self.standings = Standings(self._standings_wire, timeout)

    def append_wire(self) -> Wire:
        """A connection of its own for appends. It is opened when it is first used."""
        statement = self.recorder.append_statement
        return Wire(self._datastore.door, "turnlog_append", statement, PARAMETER_TYPES, self._timeout)

    def whole_append(self, session_id: UUID) -> WholeAppend:
        """A transaction for appends of the session that are stored together or not at all."""
        return WholeAppend(self.recorder, session_id)

    def _standings_wire(self) -> Wire:
        statement = self.recorder.statements["standings"].as_string()
        return Wire(self._datastore.door, "turnlog_standings", statement, standings.PARAMETER_TYPES, self._timeout)

    async def standing(self, session_id: UUID, base: int = 0) -> Standing:
        """Where the session stands, with the commit id at the position `base`. Raises StoreError."""
        since = time.monotonic()
        standing = await self.standings.ask(session_id, base, since)
        if standing is None or standing.is_unlisted:
            return await self.asked_again(standing, since, session_id, base)
        return standing

    async def asked_again(self, answer: Standing | None, since: float, session_id: UUID, base: int = 0) -> Standing:
        """Where the session stands, after an answer that does not say it to a question of the time `since` (of
        `time.monotonic`). Where the connection was lost, it is asked again as everything is read. Raises StoreError."""
        left = since + self._timeout - time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await asyncio.sleep(0)  # where no time is left, nothing is asked
                if answer is None:
                    (answer,) = parse_standings(await self.run(self.recorder.standing, session_id, base))
                return await self.events.judged(session_id, answer) if answer.is_unlisted else answer
        raise StoreUnavailableError(f"Postgres: no answer within {self._timeout:g} seconds")

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
        self.standings.close()
        await asyncio.gather(self._threads.close(), self._lease_thread.close())
        await asyncio.to_thread(self._datastore.close)
