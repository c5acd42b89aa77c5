"""Keeping projections up to the log until somebody stops it: eventsourcing's projection runner, on batches."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactory, InterfaceError, OperationalError, Tracking
from eventsourcing.postgres import PostgresFactory
from eventsourcing.projection import BaseProjectionRunner
from eventsourcing.projection import Projection as RunnersProjection
from eventsourcing.utils import Environment

from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.feed import FeedRecorder, LogBatch
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.infrastructure.store.store import EventStore
from turnlog.infrastructure.tables.catching_up import open_tables
from turnlog.infrastructure.tables.projection import Projection
from turnlog.infrastructure.tables.projection_tables import ProjectionTables

logger = logging.getLogger("turnlog")

RETRY_SECONDS = 1.0
"""Seconds between attempts to go on after Postgres was lost."""


class Worker:
    """Keeps one projection up to the log. Several may run at once, in any processes: one applies a batch, and the
    others find it applied."""

    def __init__(
        self, store: EventStore, settings: Settings, projection: Projection, check_open: Callable[[], None]
    ) -> None:
        self._store = store
        self._settings = settings
        self._projection = projection
        self._check_open = check_open
        self._stopped = threading.Event()
        self._runner: _Runner | None = None

    async def run(self) -> int:
        """Runs until `stop`, through outages of Postgres. Returns the log position. Raises ProjectionError, and
        LogClosedError once the log was closed."""
        tables = await open_tables(self._store, self._projection)
        thread = ThreadPoolExecutor(1, "turnlog-projection")
        try:
            await asyncio.get_running_loop().run_in_executor(thread, self._keep_running, tables)
        finally:
            self.stop()
            await asyncio.to_thread(thread.shutdown)
        return await self._store.run(lambda: tables.position)

    def stop(self) -> None:
        """Ends `run` after the batch that is under way. May be called from any thread."""
        self._stopped.set()
        if self._runner is not None:
            self._runner.stop()

    def _keep_running(self, tables: ProjectionTables) -> None:
        while not self._stopped.is_set():
            self._check_open()
            try:
                self._run_once(tables)
            except (OperationalError, InterfaceError) as error:
                logger.warning("projection %s lost Postgres and tries again: %s", tables.name, error)
                self._stopped.wait(RETRY_SECONDS)

    def _run_once(self, tables: ProjectionTables) -> None:
        tables.create_table()
        with _Runner(tables, self._settings) as self._runner:
            if not self._stopped.is_set():
                self._runner.run_forever()


class _Runner(BaseProjectionRunner["_Log"]):
    """The library's runner. It subscribes after the position, processes on a thread of its own, and ends on an
    error."""

    def __init__(self, tables: ProjectionTables, settings: Settings) -> None:
        super().__init__(
            projection=_Projecting(view=tables),
            application_class=_Log,
            tracking_recorder=tables,
            topics=tables.topics,
            env={
                "URL": settings.database_url or "",
                "SCHEMA": settings.database_schema,
                "TIMEOUT": str(settings.store_timeout_seconds),
            },
        )


class _Projecting(RunnersProjection[ProjectionTables]):
    """The runner calls this with each batch."""

    def process_event(self, domain_event: LogBatch, tracking: Tracking) -> None:  # noqa: ARG002 the position is the batch's
        while self.view.process(domain_event) < domain_event.id:
            pass


class _Log(Application[UUID]):
    """The log as the library's application, as far as a runner needs one: something to subscribe to."""

    def construct_factory(self, env: Environment) -> Any:
        return _Factory(env)

    def construct_mapper(self) -> Any:
        return _Unread()

    def construct_recorder(self) -> FeedRecorder:
        return FeedRecorder(self.factory.datastore)  # type: ignore[attr-defined]  # ours


class _Unread(EventMapper):
    """Leaves a batch as it is. Its rows are read later, where an error can say which row it is about."""

    def to_domain_event(self, stored_event: Any) -> Any:
        return stored_event


class _Factory(PostgresFactory):
    """The library's, on a connection URL."""

    def __init__(self, env: Environment) -> None:
        # Not PostgresFactory's own, which wants the parts of a URL one by one.
        InfrastructureFactory.__init__(self, env)
        self.datastore = UrlDatastore(env["URL"], schema=env["SCHEMA"], pool_size=1, timeout=float(env["TIMEOUT"]))
