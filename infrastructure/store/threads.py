"""The threads on which the store's statements run, other than appends and questions for positions.

This is the one wall for the errors of reads: what the library and the driver raise becomes a StoreError here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from eventsourcing.persistence import InterfaceError, OperationalError, PersistenceError

from turnlog.domain.errors import LogClosedError, StoreError, StoreUnavailableError
from turnlog.infrastructure.store.recorder import BatchRecorder

T = TypeVar("T")

Fetch = Callable[..., Awaitable[list[tuple[Any, ...]]]]
"""Runs a named statement with its parameters. Returns its rows; raises StoreError."""

RETRY_SECONDS = 0.05
"""Between two attempts to reach Postgres."""


class StoreThreads:
    """Runs blocking work on a few threads of its own, again while the connection is lost and `timeout` seconds are not
    over. So the work must be safe to repeat."""

    def __init__(self, name: str, count: int, recorder: BatchRecorder, timeout: float) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._recorder = recorder
        self._timeout = timeout
        self._is_closed = False

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Calls the function with these arguments on a thread. Returns what it returns. Raises StoreUnavailableError
        when Postgres was not reached in time, StoreError for any other error of Postgres, LogClosedError after `close`,
        and what else the function raises."""
        if self._is_closed:
            raise LogClosedError("the log was closed")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._translated, function, *args)

    async def fetch(self, name: str, *params: Any) -> list[tuple[Any, ...]]:
        """The rows of a named statement. Raises as `run`."""
        return await self.run(lambda: self._recorder.fetch(name, *params))

    async def close(self) -> None:
        """Waits for what is running, and ends the threads."""
        self._is_closed = True
        await asyncio.to_thread(self._executor.shutdown)

    def _translated(self, function: Callable[..., T], *args: Any) -> T:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return function(*args)
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() >= deadline:
                    raise StoreUnavailableError(f"Postgres: {self._recorder.datastore.why(error)}") from error
                time.sleep(RETRY_SECONDS)
            except PersistenceError as error:
                raise StoreError(f"Postgres: {error}") from error
