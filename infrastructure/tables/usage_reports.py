"""Reports of usage in an open log: what is known, after catching up with the log, or while that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from turnlog.infrastructure.tables.projection import Progress
from turnlog.infrastructure.tasks import cancel_and_wait, spawned
from turnlog.projections.usage_report import Dimension, UsageReport

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore

# The drivers are loaded when something runs, so that `import turnlog` stays quick.


class UsageFilter(NamedTuple):
    """The usage that is asked for. None means all."""

    user_id: str | None = None
    model: str | None = None
    since: date | None = None
    until: date | None = None


class UsageReports:
    """Catches up for one caller at a time: the others would hold a thread each, only to wait for the same lock."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._alone = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def report(
        self, wanted: UsageFilter, by: Sequence[Dimension], progress: Progress | None, *, catch_up: bool, wait: bool
    ) -> UsageReport:
        """See `SessionLog.usage`. Raises ProjectionError and StoreError."""
        from turnlog.infrastructure.tables.usage import report_usage  # noqa: PLC0415 a driver

        if catch_up and wait:
            await self._catch_up(progress)
        report = await report_usage(self._store, wanted, by)
        if not report.events_behind:
            return report
        if catch_up and not self._is_catching_up():
            self._task = spawned(self._catch_up(progress), "catching usage up")
        return report.model_copy(update={"is_catching_up": self._is_catching_up()})

    async def close(self) -> None:
        """Ends what goes on without a caller: what was applied is kept."""
        await cancel_and_wait(self._task)

    def _is_catching_up(self) -> bool:
        return self._alone.locked() or (self._task is not None and not self._task.done())

    async def _catch_up(self, progress: Progress | None) -> None:
        from turnlog.infrastructure.tables.catching_up import catch_up  # noqa: PLC0415 a driver
        from turnlog.infrastructure.tables.usage import UsageProjection  # noqa: PLC0415 a driver

        async with self._alone:
            await catch_up(self._store, UsageProjection(), progress)
