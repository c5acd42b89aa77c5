"""The threads on which the store's statements run, other than appends and questions for positions.

This is the one wall for the errors of reads: what the library and the driver raise becomes a StoreError here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from eventsourcing.persistence import InterfaceError, OperationalError, PersistenceError

from turnlog.domain.errors import (
    LogClosedError,
    StoreUnavailableError,
    TurnlogError,
)
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.refusals import refusal_of

T = TypeVar("T")

Fetch = Callable[..., Awaitable[list[tuple[Any, ...]]]]
"""Runs a named statement with its parameters. Returns its rows; raises StoreError."""

RETRY_SECONDS = 0.05
"""Between two attempts to reach Postgres."""


class StoreThreads:
    """Runs blocking work on a few threads of its own, again while the connection is lost and `timeout` seconds since
    the call are not over. So the work must be safe to repeat."""

    def __init__(self, name: str, count: int, recorder: BatchRecorder, timeout: float) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._recorder = recorder
        self._timeout = timeout
        self._refusal: Callable[[], TurnlogError] | None = None

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Calls the function with these arguments on a thread. Returns what it returns. Raises StoreUnavailableError
        when Postgres has not answered `timeout` seconds after the call, also when all threads were busy meanwhile;
        UnfitDatabaseError and StoreError for other errors of Postgres, LogClosedError after `close`, and what else the
        function raises."""
        if self._refusal is not None:
            raise self._refusal()
        work = _Work(partial(function, *args), time.monotonic() + self._timeout)
        running = self._executor.submit(self._translated, work)
        giving_up = asyncio.get_running_loop().call_later(self._timeout, work.give_up, running)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not work.is_given_up or (task is not None and task.cancelling()):
                raise
            raise StoreUnavailableError(f"Postgres: no thread was free within {self._timeout:g} seconds") from None
        finally:
            giving_up.cancel()

    async def fetch(self, name: str, *params: Any) -> list[tuple[Any, ...]]:
        """The rows of a named statement. Raises as `run`."""
        return await self.run(lambda: self._recorder.fetch(name, *params))

    def fetch_here(self, name: str, *params: Any) -> list[tuple[Any, ...]]:
        """The same for work that is on one of the threads already."""
        return self._recorder.fetch(name, *params)

    async def fetch_by_index(self, name: str, *params: Any) -> list[tuple[Any, ...]]:
        """The rows of a named statement whose order is that of an index. Raises as `run`."""
        return await self.run(lambda: self._recorder.fetch_by_index(name, *params))

    def refuse(self, error: Callable[[], TurnlogError]) -> None:
        """Runs nothing from now on, and raises this error instead."""
        self._refusal = error

    async def close(self) -> None:
        """Waits for what is running, and ends the threads."""
        self.refuse(partial(LogClosedError, "the log was closed"))
        await asyncio.to_thread(self._executor.shutdown)

    def _translated(self, work: _Work[T]) -> T:
        datastore = self._recorder.datastore
        while True:
            try:
                with datastore.until(work.deadline):
                    return work.function()
            except (OperationalError, InterfaceError, OSError) as error:  # OSError: a process without descriptors
                if time.monotonic() >= work.deadline:
                    why = f"no answer within {self._timeout:g} seconds"
                    if datastore.door.failure is not None:
                        why = datastore.door.why(error)
                    raise StoreUnavailableError(f"Postgres: {why}") from error
                time.sleep(RETRY_SECONDS)
            except PersistenceError as error:
                raise refusal_of(error) from error


@dataclass(slots=True)
class _Work(Generic[T]):
    """What is run until the deadline. It is given up only before it has begun: what runs comes to its end."""

    function: Callable[[], T]
    deadline: float
    is_given_up: bool = False

    def give_up(self, running: Future[T]) -> None:
        """Cancels what no thread has begun."""
        self.is_given_up = running.cancel()
