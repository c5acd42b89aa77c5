"""Projections of an open log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.tables.projection import Progress, Projection

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore
    from turnlog.infrastructure.tables.worker import Worker

# The drivers are loaded when something runs, so that `import turnlog` stays quick.


class Projections:
    """Brings projections up to the log and keeps them there, rebuilds them, and drops them."""

    def __init__(self, store: EventStore, settings: Settings, check_open: Callable[[], None]) -> None:
        self._store = store
        self._settings = settings
        self._check_open = check_open

    async def catch_up(self, projection: Projection, progress: Progress | None = None) -> int:
        """Brings a projection to the present end of the log. Returns its log position.

        `turnlog project` and other callers may do the same at the same time: each event is applied once. Raises
        ProjectionError, which names the event that cannot be applied, InvalidInputError for names that are not allowed,
        and StoreError.
        """
        from turnlog.infrastructure.tables.catching_up import catch_up  # noqa: PLC0415 a driver

        self._check_open()
        return await catch_up(self._store, projection, progress)

    def worker(self, projection: Projection) -> Worker:
        """What keeps a projection up to the log: `await worker.run()` until `worker.stop()`."""
        from turnlog.infrastructure.tables.worker import Worker  # noqa: PLC0415 a driver

        self._check_open()
        return Worker(self._store, self._settings, projection, self._check_open)

    async def rebuild(self, projection: Projection, progress: Progress | None = None) -> int:
        """Builds a projection's tables anew. The old ones can be read until the new ones replace them. Returns the log
        position that the new tables have reached. Raises as `catch_up`, and ProjectionError while another
        process rebuilds it."""
        from turnlog.infrastructure.tables.rebuild import rebuild  # noqa: PLC0415 a driver

        self._check_open()
        return await rebuild(self._store, projection, progress)

    async def drop(self, name: str) -> list[str]:
        """Drops the tables and the position of a projection that is no longer wanted, in one transaction. With `_new`
        at the end of the name, only what a rebuild has left is dropped. Returns the names of the tables.

        Stop its workers first: a worker that still runs makes the tables anew. Raises ProjectionError where there is no
        such projection, while it is rebuilt or read, and where something depends on a table; and StoreError."""
        from turnlog.infrastructure.tables.dropping import drop  # noqa: PLC0415 a driver

        self._check_open()
        return await drop(self._store, name)
