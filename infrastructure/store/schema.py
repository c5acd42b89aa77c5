"""The schema of the database: creating it, bringing it up to date, and what is in it."""

from __future__ import annotations

import time
from typing import Any

from turnlog.infrastructure.clock import set_clock
from turnlog.infrastructure.store.examination import Facts, fault_of, pooler_faults, read_facts
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.statements import SCHEMA_VERSION
from turnlog.infrastructure.store.threads import StoreThreads


class Schema:
    """Every method raises StoreError. `log_id` is the id of the database's log, once its version was read."""

    def __init__(self, threads: StoreThreads, recorder: BatchRecorder) -> None:
        self._threads = threads
        self._recorder = recorder
        self.log_id = ""

    async def examine(self) -> Facts:
        """What the database says of itself. Raises UnfitDatabaseError, and SchemaVersionError for the schema of a newer
        turnlog, where a log cannot be opened on it."""
        facts = await self._threads.run(self._read_facts)
        if fault := fault_of(facts, self._recorder.statements.schema):
            raise fault
        self.log_id = facts.log_id
        return facts

    async def prepare(self) -> int | None:
        """Examines the database, and creates the schema or brings an older one up to date; several processes may do so
        at once. Returns the version that was there before, None if there was none. Raises as `examine`."""
        facts = before = await self.examine()
        if facts.version is None or facts.version < SCHEMA_VERSION:
            await self._threads.run(self._recorder.create_table)
            await self.examine()
        return before.version

    async def version(self) -> int | None:
        """The version of the stored schema; None where there is no schema."""
        return (await self._threads.run(self._read_facts)).version

    def _read_facts(self) -> Facts:
        with pooler_faults(), self._recorder.datastore.transaction() as cursor:
            return read_facts(cursor, self._recorder.statements)

    async def set_clock(self) -> None:
        """Sets the clock of this process by the database."""
        await self._threads.run(self._set_clock)

    def _set_clock(self) -> None:
        asked = time.monotonic()
        ((at,),) = self._recorder.fetch("server_time")
        set_clock(at, asked, time.monotonic())

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
