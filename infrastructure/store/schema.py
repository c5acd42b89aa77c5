"""The schema of the database: creating it, bringing it up to date, and what is in it."""

from __future__ import annotations

from typing import Any

from eventsourcing.persistence import ProgrammingError
from psycopg.errors import UndefinedTable

from turnlog.domain.errors import SchemaVersionError
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.statements import SCHEMA_VERSION
from turnlog.infrastructure.store.threads import StoreThreads


class Schema:
    """Every method raises StoreError. `log_id` is the id of the database's log, once its version was read."""

    def __init__(self, threads: StoreThreads, recorder: BatchRecorder) -> None:
        self._threads = threads
        self._recorder = recorder
        self.log_id = ""

    async def prepare(self) -> int | None:
        """Creates the schema, or brings an older one up to date; several processes may do so at once. Returns the
        version that was there before, None if there was none. Raises SchemaVersionError for that of a newer turnlog."""
        before = version = await self.version()
        if version is None or version < SCHEMA_VERSION:
            await self._threads.run(self._recorder.create_table)
            version = await self.version()
        if version != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"the database has turnlog schema {version}, this version needs {SCHEMA_VERSION}: upgrade turnlog"
            )
        return before

    async def version(self) -> int | None:
        """The version of the stored schema; None where there is no schema."""
        rows = await self._threads.run(self._read_version)
        if not rows:
            return None
        version, log_id = rows[0]
        self.log_id = str(log_id)
        return int(version)

    def _read_version(self) -> list[tuple[Any, ...]]:
        try:
            return self._recorder.fetch("schema_version")
        except ProgrammingError as error:
            if isinstance(error.__cause__, UndefinedTable):
                return []
            raise

    async def cache_secret(self) -> bytes:
        """With which entries of the cache are signed: Redis does not know it."""
        rows = await self._threads.fetch("cache_secret")
        return bytes(rows[0][0])

    async def statistics(self) -> dict[str, Any]:
        """Counts and settings, for `turnlog doctor`."""
        return await self._threads.run(self._read_statistics)

    def _read_statistics(self) -> dict[str, Any]:
        with self._recorder.datastore.get_connection() as connection:
            return connection.execute(self._recorder.statements["statistics"]).fetchone() or {}
