"""Group commit: the one writer of a process, which commits whatever all sessions have waiting in one transaction.

A thread, for the recorder is synchronous and COPY is quickest without an event loop around it. Handlers on the loop
hand it `Append`s and get them settled, in order, back on the loop: one wake-up a batch.

A *lane* is a session's run of appends that were decided one on top of the other. Once one of them fails, those
behind it were decided on something that never happened: the lane is broken and they fail too, while the batch's
other sessions go on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from eventsourcing.persistence import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    PersistenceError,
)

from turnlog.domain.errors import AppendRefusedError, LogClosedError, StoreError, StoreUnavailableError
from turnlog.infrastructure.store.batch import Append, PositionTakenError
from turnlog.infrastructure.store.recorder import BatchRecorder

logger = logging.getLogger("turnlog")

HAND_OVER = 250
"""So many appends are handed over at once, in the middle of a turn of the loop: Postgres commits them while the loop
goes on with the next ones."""
MAX_BATCH_EVENTS = 5_000
MAX_BATCH_BYTES = 8 * 1024 * 1024
FIRST_BACKOFF = 0.05
LAST_BACKOFF = 1.0


@dataclass(slots=True)
class WriterStatistics:
    """What the writer did so far."""

    events: int = 0
    commits: int = 0


class GroupWriter:
    """The writer thread and the bounded queue in front of it."""

    def __init__(
        self,
        recorder: BatchRecorder,
        *,
        max_queued_events: int = 20_000,
        max_queued_bytes: int = 64 * 1024 * 1024,
        retry_seconds: float = 5.0,
    ) -> None:
        self._recorder = recorder
        self._max_events = max_queued_events
        self._max_bytes = max_queued_bytes
        self._retry_seconds = retry_seconds
        self._loop = asyncio.get_running_loop()
        self._ready = threading.Condition()
        self._gathered: list[Append] = []
        self._queue: deque[Append] = deque()
        self._closing = False
        self._events = self._bytes = 0  # handed over and not yet settled; only the loop touches them
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.on_settled: Callable[[Sequence[tuple[Append, StoreError | None]]], None] | None = None
        """Called on the loop after each commit, with what became of its appends."""
        self.is_full = False
        """Whether producers have to wait for `room`."""
        self.statistics = WriterStatistics()
        self._thread = threading.Thread(target=self._run, name="turnlog-writer", daemon=True)
        self._thread.start()

    # On the loop

    async def room(self) -> None:
        """Waits until the queue takes more: this is how a slow database slows the producers."""
        while self.is_full:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter

    def put(self, append: Append) -> None:
        """Queues an append. Raises LogClosedError after `close`."""
        if self._closing:
            raise LogClosedError("the log was closed")
        # Handed over once a turn of the loop: handlers that were woken together get into one commit, where the
        # first one alone would otherwise start a commit that the others have to wait for.
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(append)
        if len(self._gathered) >= HAND_OVER:
            self._hand_over()
        self._events += append.count
        self._bytes += append.size
        self.is_full = self._events >= self._max_events or self._bytes >= self._max_bytes

    def _hand_over(self) -> None:
        with self._ready:
            self._queue.extend(self._gathered)
            self._ready.notify()
        self._gathered.clear()

    async def close(self) -> None:
        """Commits what is queued and ends the thread."""
        self._hand_over()
        with self._ready:
            self._closing = True
            self._ready.notify()
        await asyncio.to_thread(self._thread.join)

    def _settle(self, outcomes: Sequence[tuple[Append, StoreError | None]]) -> None:
        self._events -= sum([append.count for append, _ in outcomes])
        self._bytes -= sum([append.size for append, _ in outcomes])
        for append, error in outcomes:
            append.owner.settled(append, error)
        if self.on_settled is not None and outcomes:
            self.on_settled(outcomes)
        self.is_full = self._events >= self._max_events or self._bytes >= self._max_bytes
        while self._waiting and not self.is_full:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
        if self._waiting and not self.is_full:
            self._loop.call_soon(self._settle, ())

    # On the writer's thread

    def _run(self) -> None:
        while batch := self._take():
            outcomes: list[tuple[Append, StoreError | None]] = []
            try:
                self._commit(batch, outcomes)
            except Exception as error:
                logger.exception("the writer failed")
                settled = {id(append) for append, _ in outcomes}
                left = (append for append in batch if id(append) not in settled)
                self._fail(left, AppendRefusedError(str(error)), outcomes)
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _take(self) -> list[Append]:
        """The next batch; empty once closed and drained."""
        batch: list[Append] = []
        events = size = 0
        with self._ready:
            while not self._queue and not self._closing:
                self._ready.wait()
            while self._queue and events < MAX_BATCH_EVENTS and size < MAX_BATCH_BYTES:
                append = self._queue.popleft()
                batch.append(append)
                events += append.count
                size += append.size
        return batch

    def _commit(self, batch: list[Append], outcomes: list[tuple[Append, StoreError | None]]) -> None:
        deadline = time.monotonic() + self._retry_seconds
        backoff = FIRST_BACKOFF
        while batch := self._unbroken(batch, outcomes):
            try:
                self._insert(batch)
            except IntegrityError:
                batch = self._without_taken(batch, outcomes, deadline)
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() >= deadline:
                    self._fail(batch, StoreUnavailableError(f"Postgres: {error}"), outcomes)
                    return
                time.sleep(backoff)
                backoff = min(2 * backoff, LAST_BACKOFF)
            except PersistenceError as error:
                self._commit_alone(batch, AppendRefusedError(f"Postgres: {error}"), outcomes)
                return
            else:
                self._stored(batch, outcomes)
                return

    def _insert(self, batch: list[Append]) -> None:
        sessions = {append.session.session_id: append.session for append in batch if append.session}
        keys = {(row.session_id, row.key): row for append in batch for row in append.keys}
        self._recorder.append(
            batch,
            # In one order everywhere, so that two processes never wait for each other's rows.
            sessions=[sessions[session_id] for session_id in sorted(sessions)],
            keys=[keys[key] for key in sorted(keys)],
        )
        self.statistics.commits += 1

    def _stored(self, batch: list[Append], outcomes: list[tuple[Append, StoreError | None]]) -> None:
        self.statistics.events += sum(append.count for append in batch)
        outcomes.extend((append, None) for append in batch)

    def _fail(
        self, batch: Iterable[Append], error: StoreError, outcomes: list[tuple[Append, StoreError | None]]
    ) -> None:
        for append in batch:
            append.lane.broken = append.lane.broken or error
            outcomes.append((append, append.lane.broken))

    def _unbroken(self, batch: list[Append], outcomes: list[tuple[Append, StoreError | None]]) -> list[Append]:
        outcomes.extend((append, append.lane.broken) for append in batch if append.lane.broken)
        return [append for append in batch if not append.lane.broken]

    def _without_taken(
        self, batch: list[Append], outcomes: list[tuple[Append, StoreError | None]], deadline: float
    ) -> list[Append]:
        """Settles what is stored already and what lost its position; returns the rest."""
        try:
            stored = self._stored_at(batch)
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() >= deadline:
                self._fail(batch, StoreUnavailableError(f"Postgres: {error}"), outcomes)
                return []
            return batch
        rest: list[Append] = []
        for append in batch:
            found = stored.get(append.id_bytes, {})
            there = [found.get(append.position + offset) for offset in range(append.count)]
            if there == list(zip(append.rows[::2], append.rows[1::2], strict=True)):
                # The commit had gone through and only its answer was lost.
                self._stored([append], outcomes)
            elif any(there):
                self._fail([append], PositionTakenError("position taken"), outcomes)
            else:
                rest.append(append)
        return rest

    def _stored_at(self, batch: list[Append]) -> dict[bytes, dict[int, tuple[str, bytes]]]:
        ids = [UUID(bytes=append.id_bytes) for append in batch]
        firsts = [append.position for append in batch]
        lasts = [append.position + append.count - 1 for append in batch]
        stored: dict[bytes, dict[int, tuple[str, bytes]]] = defaultdict(dict)
        for session_id, version, topic, state in self._recorder.fetch("stored_at", ids, firsts, lasts):
            stored[session_id.bytes][version] = (topic, state)
        return stored

    def _commit_alone(
        self, batch: list[Append], error: StoreError, outcomes: list[tuple[Append, StoreError | None]]
    ) -> None:
        """Postgres refused something in the batch: each append on its own, so that only the bad one fails."""
        if len(batch) == 1:
            self._fail(batch, error, outcomes)
            return
        logger.warning("Postgres refused a batch of %d appends, each is now tried alone: %s", len(batch), error)
        for append in batch:
            self._commit([append], outcomes)
