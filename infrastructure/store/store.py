"""The event store as the rest of turnlog sees it: append through the writer, read events, views and lists.

Reads are synchronous and run on a few threads of the store's own. This is also the wall at which the errors of the
driver and the library become turnlog's. Nothing outside knows that an event is a row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from eventsourcing.persistence import InterfaceError, OperationalError, PersistenceError, ProgrammingError
from psycopg import Connection
from psycopg.errors import ProgramLimitExceeded, UndefinedTable
from psycopg.rows import DictRow

from turnlog.domain.errors import (
    LogClosedError,
    SchemaVersionError,
    StoreError,
    StoreUnavailableError,
    UnreadableEventError,
)
from turnlog.domain.events import StepEnd
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.store import positions
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.folding import fold_page
from turnlog.infrastructure.store.leases import Leases
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.infrastructure.store.packing import PARAMETER_TYPES
from turnlog.infrastructure.store.positions import Positions
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.statements import SCHEMA_VERSION
from turnlog.infrastructure.store.wire import Wire
from turnlog.projections.projector import VIEW_SCHEMA, Projector
from turnlog.projections.view import SessionPage, SessionSummary, Turn

T = TypeVar("T")

READ_THREADS = 4
MAX_POSITION = 2**62
MAX_TURNS = 2**31 - 1
PAGE_OF_EVENTS = 20_000
"""So many events are read at once, so that no one query of a long session takes longer than a connection may."""

RECENT_ENDS = 50
_ENDS: tuple[type[StepEnd], ...] = StepEnd.__args__


class EventStore:
    """Opens connections when first used. `close` ends them."""

    def __init__(self, url: str, *, schema: str = "public", timeout: float = 5.0) -> None:
        self._datastore = UrlDatastore(url, schema=schema, pool_size=READ_THREADS + 2, timeout=timeout)
        self._url = url
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="turnlog-reader")
        self._recorder: BatchRecorder | None = None
        self.mapper = EventMapper()
        # Leases are renewed beside all reads and not behind them: four slow ones would else end what is written here.
        self._lease_thread = ThreadPoolExecutor(1, thread_name_prefix="turnlog-leases")
        self.leases = Leases(self._fetch_lease)
        self._positions: Positions | None = None
        self.log_id = ""
        self._closed = False

    @property
    def recorder(self) -> BatchRecorder:
        """The library's recorder, made at first use, for it connects when it is made."""
        if self._recorder is None:
            self._recorder = BatchRecorder(self._datastore)
        return self._recorder

    def wire(self) -> Wire:
        """A connection of its own for the writer. Opened when first used."""
        return Wire(self._url, "turnlog_append", self.recorder.append_statement, PARAMETER_TYPES, self._timeout)

    def ask_position(self, session_id: UUID) -> asyncio.Future[int | None]:
        """The position of the session's last event, 0 if there is none; None if Postgres does not say at once: `read`
        waits for it."""
        if self._positions is None:
            statement = self.recorder.statements["positions"].as_string()
            self._positions = Positions(
                Wire(self._url, "turnlog_positions", statement, positions.PARAMETER_TYPES, self._timeout)
            )
        return self._positions.ask(session_id)

    async def prepare(self) -> None:
        """Creates the schema, or brings an older one up to date; several processes may do so at once. Raises
        SchemaVersionError for that of a newer turnlog."""
        version = await self.schema_version()
        if version is None or version < SCHEMA_VERSION:
            await self._run(self._create_table)
            version = await self.schema_version()
        if version != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"the database has turnlog schema {version}, this version needs {SCHEMA_VERSION}: upgrade turnlog"
            )

    async def create_schema(self) -> int | None:
        """As `prepare`. Returns the version that was there before; None if there was none."""
        version = await self.schema_version()
        await self.prepare()
        return version

    async def schema_version(self) -> int | None:
        """The stored version of the schema; None where there is no schema."""
        rows = await self._run(self._schema_version)
        if not rows:
            return None
        self.log_id = str(rows[0][1])
        version: int = rows[0][0]
        return version

    def _create_table(self) -> None:
        self.recorder.create_table()

    def _schema_version(self) -> list[tuple[Any, ...]]:
        try:
            return self.recorder.fetch("schema_version")
        except ProgrammingError as error:
            if isinstance(error.__cause__, UndefinedTable):
                return []
            raise

    # Events

    async def read(
        self, session_id: UUID, after: int = 0, upto: int = MAX_POSITION, limit: int = MAX_POSITION
    ) -> list[RecordedEvent]:
        """The session's events at positions after < position <= upto, in order, at most `limit`."""
        events: list[RecordedEvent] = []
        while page := await self._run(self._read, session_id, after, upto, min(limit - len(events), PAGE_OF_EVENTS)):
            events += page
            after = page[-1].position
            if len(page) < PAGE_OF_EVENTS:
                break
        return events

    async def pages(self, session_id: UUID, upto: int, at_once: int) -> AsyncIterator[list[RecordedEvent]]:
        """The session's events up to a position, which has to be there, so many at once."""
        for after in range(0, upto, at_once):
            yield await self.read(session_id, after=after, upto=min(after + at_once, upto))

    def _read(self, session_id: UUID, after: int, upto: int, limit: int) -> list[RecordedEvent]:
        event = self.mapper.event
        rows = self.recorder.fetch("read_session", session_id, after, upto, limit)
        return [
            RecordedEvent(session_id, position, log_position, event(topic, state))
            for position, log_position, topic, state in rows
        ]

    async def fold(self, projector: Projector) -> bool:
        """Folds the events after the projector's version in. False if the log does not even reach that version: then
        the projector is not of this log. Raises PagesNeeded as the projector does."""
        # From its last event on: if that is there, so are all before it.
        after = max(projector.version - 1, 0)
        rows = await self._run(self._fold, projector, after, PAGE_OF_EVENTS)
        if projector.version and not rows:
            return False
        while rows == PAGE_OF_EVENTS:
            rows = await self._run(self._fold, projector, projector.version, PAGE_OF_EVENTS)
        return True

    def _fold(self, projector: Projector, after: int, limit: int) -> int:
        # On the reader's thread: a long fold must not hold up the loop.
        session_id = projector.session_id
        try:
            pages = self.recorder.fetch("fold_session", session_id, after, limit, session_id, after)
            for _, packed, last in pages:
                fold_page(projector, after + 1, packed, last, self.mapper)
            return pages[0][0] if pages else 0
        except (ValueError, UnreadableEventError):
            pass
        except OperationalError as error:
            if not isinstance(error.__cause__, ProgramLimitExceeded):  # more than Postgres packs into one value
                raise
        events = self._read(session_id, after, MAX_POSITION, limit)
        projector.apply_all(events)
        return len(events)

    async def read_after(self, positions: Mapping[UUID, int], limit: int) -> list[RecordedEvent]:
        """Of each session the events after its position, in order, at most `limit` of each: one statement for all."""
        return await self._run(self._read_after, list(positions), list(positions.values()), limit)

    def _read_after(self, ids: list[UUID], positions: list[int], limit: int) -> list[RecordedEvent]:
        event = self.mapper.event
        rows = self.recorder.fetch("read_sessions", ids, positions, limit)
        return [
            RecordedEvent(session_id, position, log_position, event(topic, state))
            for session_id, position, log_position, topic, state in rows
        ]

    async def find_end(self, session_id: UUID, step_id: str) -> StepEnd | None:
        """The event that ended a step, if it is one of the session's last ends."""
        topics = [end.topic for end in _ENDS]
        rows = await self._run(lambda: self.recorder.fetch("last_of_topics", session_id, topics, RECENT_ENDS))
        ends = (self.mapper.event(topic, state) for _, topic, state in rows)
        return next((end for end in ends if isinstance(end, _ENDS) and end.step_id == step_id), None)

    async def find_key(self, session_id: UUID, key: bytes) -> str | None:
        """What was accepted under this key in the session, if anything was."""
        rows = await self._run(lambda: self.recorder.fetch("find_key", session_id, key))
        return rows[0][0] if rows else None

    # Lists

    async def list_sessions(self, user_id: str | None, limit: int, offset: int) -> SessionPage:
        """Sessions of a user (None: all), newest activity first, with the total of the same snapshot."""
        everybody = user_id is None
        rows = await self._run(lambda: self.recorder.fetch("list_sessions", everybody, user_id, limit, offset))
        items = tuple(_summary(row[1:]) for row in rows if row[1] is not None)
        return SessionPage(items=items, total=rows[0][0] if rows else 0)

    async def session_ids(self, user_id: str | None, after: UUID, limit: int) -> list[UUID]:
        """The next ids behind `after`, in their own order: it stays the same while sessions are appended to."""
        everybody = user_id is None
        rows = await self._run(lambda: self.recorder.fetch("session_ids", everybody, user_id, after, limit))
        return [row[0] for row in rows]

    async def statistics(self) -> dict[str, Any]:
        """Counts and settings, for `turnlog doctor`."""

        def fetch() -> dict[str, Any]:
            with self._datastore.get_connection() as connection:
                row = connection.execute(self.recorder.statements["statistics"]).fetchone()
            return dict(row or {})

        return await self._run(fetch)

    # The kept view

    async def load_kept(self, session_id: UUID, turns: int | None = None) -> tuple[bytes, list[bytes]] | None:
        """The kept head of the session's view and its last pages (None: all), if there are any of this version."""
        # One statement, so that head and pages are of one moment: a page that was saved in between would hold events
        # that the head does not know.
        most = MAX_TURNS if turns is None else turns
        rows = await self._fetch("load_kept", session_id, VIEW_SCHEMA, most)
        return (rows[0][1], [body for _, body in rows[1:]]) if rows else None

    async def load_head(self, session_id: UUID) -> bytes | None:
        """The kept head alone."""
        rows = await self._run(lambda: self.recorder.fetch("load_head", session_id, VIEW_SCHEMA))
        return rows[0][0] if rows else None

    async def keep(self, projector: Projector) -> bool:
        """Keeps the head and the pages that changed since they were last kept, unless what is there is newer. False if
        a page is missing for that: one that was closed or changed since, and that the projector does not hold."""
        return await self._run(self._keep, projector)

    def _keep(self, projector: Projector) -> bool:
        statements, session_id = self.recorder.statements, projector.session_id
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(statements["lock_head"], (session_id,))
            kept = cursor.fetchone()
            if kept is None or kept["view_schema"] != VIEW_SCHEMA:
                kept = {"view_schema": VIEW_SCHEMA, "position": 0, "closed_turns": 0}
            if kept["position"] >= projector.version:
                return True
            if projector.first_turn and (
                kept["closed_turns"] < projector.first_turn or kept["position"] < projector.reached_back
            ):
                return False
            head = projector.head()
            values = (session_id, VIEW_SCHEMA, head.version, head.closed_turns, head.to_json())
            cursor.execute(statements["save_head"], values)
            if cursor.rowcount and (pages := projector.pages(kept["position"])):
                cursor.execute(statements["save_pages"], (session_id, *_columns(pages)))
            return True

    async def forget_kept(self, session_id: UUID) -> None:
        """Drops the kept view; the next read folds it anew from the events."""
        statements = self.recorder.statements
        await self._run(
            lambda: self.recorder.run(
                (statements["drop_head"], (session_id,)), (statements["drop_pages"], (session_id,))
            )
        )

    async def close(self) -> None:
        """Ends threads and connections. Later reads raise LogClosedError."""
        self._closed = True
        if self._positions is not None:
            self._positions.close()
        for threads in (self._threads, self._lease_thread):
            await asyncio.to_thread(threads.shutdown)
        await asyncio.to_thread(self._datastore.close)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Runs other blocking work on `recorder` or its datastore as reads are run: on a thread of the store's, again
        while the connection is lost, and with the store's errors. It must be safe to repeat."""
        return await self._run(function, *args)

    async def connect(self) -> Connection[DictRow]:
        """A connection beside the pool, for a lock that is held long. Raises StoreUnavailableError."""
        try:
            return await asyncio.to_thread(self._datastore.connect)
        except psycopg.Error as error:
            raise StoreUnavailableError(f"Postgres: {error}") from error

    async def _fetch(self, name: str, *params: Any) -> list[tuple[Any, ...]]:
        return await self._run(lambda: self.recorder.fetch(name, *params))

    async def _fetch_lease(self, name: str, *params: Any) -> list[tuple[Any, ...]]:
        return await self._run_on(self._lease_thread, lambda: self.recorder.fetch(name, *params))

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        return await self._run_on(self._threads, function, *args)

    async def _run_on(self, threads: ThreadPoolExecutor, function: Callable[..., T], *args: Any) -> T:
        if self._closed:
            raise LogClosedError("the log was closed")
        return await asyncio.get_running_loop().run_in_executor(threads, self._translated, function, *args)

    def _translated(self, function: Callable[..., T], *args: Any) -> T:
        """Calls a read, again while the connection is lost and time is left, and translates what it raises."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return function(*args)
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() >= deadline:
                    raise StoreUnavailableError(f"Postgres: {self._datastore.why(error)}") from error
                time.sleep(0.05)
            except PersistenceError as error:
                raise StoreError(f"Postgres: {error}") from error


def _columns(pages: Sequence[Turn]) -> tuple[list[int], list[bytes]]:
    return [page.index for page in pages], [page.to_short_json() for page in pages]


def _summary(row: Iterable[Any]) -> SessionSummary:
    session_id, user_id, title, started_at, updated_at, version = row
    return SessionSummary(
        session_id=session_id,
        user_id=user_id,
        title=title.decode("utf-8", "surrogatepass") if title is not None else None,
        started_at=started_at,
        updated_at=updated_at,
        version=version,
    )
