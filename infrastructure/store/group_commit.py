"""Group commit: the one writer of a process, which commits whatever all sessions have waiting in one transaction.

It lives on the event loop. Handlers hand it `Append`s and get them settled, in order; while Postgres commits one batch
the next one queues up. Nothing waits in the normal case: a batch is sent when the wire is free, and the answer settles
it and sends the next.

A *lane* is a session's run of appends that were decided one on top of the other. Once one of them fails, those
behind it were decided on something that never happened: the lane is broken and they fail too, while the batch's
other sessions go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
from eventsourcing.persistence import InterfaceError, OperationalError

from turnlog.domain.errors import AppendRefusedError, LogClosedError, StoreError, StoreUnavailableError
from turnlog.infrastructure.store.appends import Append, PositionTakenError
from turnlog.infrastructure.store.packing import pack_appends
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.wire import Wire

logger = logging.getLogger("turnlog")

HAND_OVER = 250
"""So many appends are sent at once, in the middle of a turn of the loop: Postgres commits them while the loop goes on
with the next ones."""
MAX_BATCH_EVENTS = 1_000
"""Of deltas, about what a socket takes at once. The rest of a larger batch waits until the loop comes round, and
Postgres waits with it."""
MAX_BATCH_BYTES = 8 * 1024 * 1024
FIRST_BACKOFF = 0.05
LAST_BACKOFF = 1.0

UNREACHED = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby that is about to be promoted
    OperationalError,
    InterfaceError,
    OSError,
)
"""What the driver and the library raise when the outcome is not known, or will be another one soon."""


@dataclass(slots=True)
class WriterStatistics:
    """What the writer did so far."""

    events: int = 0
    commits: int = 0


class GroupCommit:
    """The bounded queue in front of the wire, and what becomes of each batch."""

    def __init__(
        self,
        recorder: BatchRecorder,
        wire: Wire,
        *,
        max_queued_events: int = 20_000,
        max_queued_bytes: int = 64 * 1024 * 1024,
        retry_seconds: float = 5.0,
    ) -> None:
        self._recorder = recorder
        self._wire = wire
        self._max_events = max_queued_events
        self._max_bytes = max_queued_bytes
        self._retry_seconds = retry_seconds
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Append] = deque()
        self._is_due = False
        self._under_way: list[Append] = []
        self._last_taken = 0
        self._mending: asyncio.Task[None] | None = None
        self._closing = False
        self._drained: asyncio.Future[None] | None = None
        self._turn_began = 0.0
        self._events = self._bytes = 0  # queued or under way
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.on_stored: Callable[[Sequence[Append]], None] | None = None
        """Called after each commit with what it stored."""
        self.is_full = False
        """Whether producers have to wait for `room`."""
        self.statistics = WriterStatistics()

    @property
    def connection(self) -> int:
        """The number of the connection: it is another one when Postgres was lost, and may have lost something."""
        return max(0, self._wire.number)

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
        if not self._is_due:
            self._turn_began = self._loop.time()
        append.since = self._turn_began
        self._queue.append(append)
        self._events += append.count
        self._bytes += append.size
        if self._events >= self._max_events or self._bytes >= self._max_bytes:
            self.is_full = True
        # Sent once the loop has come round: handlers that were woken together get into one commit, where the first
        # one alone would otherwise start a commit that the others have to wait for.
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._come_round)
        elif len(self._queue) >= HAND_OVER and not self._under_way:
            self._send_next()

    async def close(self) -> None:
        """Commits what is queued, and ends the connection."""
        self._closing = True
        self._send_next()
        if self._under_way:
            self._drained = self._loop.create_future()
            await self._drained
        self._wire.close()

    # The normal way of a batch

    def _come_round(self) -> None:
        self._is_due = False
        self._send_next()

    def _send_next(self) -> None:
        if self._under_way or not self._queue:
            return
        self._under_way = self._take()
        if self._wire.is_open:
            self._send(self._under_way)
        else:
            self._mending = self._loop.create_task(self._mend(self._under_way, None))

    def _take(self) -> list[Append]:
        batch: list[Append] = []
        events = size = 0
        # Of many streams one half is committed while the other one makes its next deltas: when all are in one batch,
        # either Postgres or the loop has nothing to do.
        most = max(HAND_OVER, (len(self._queue) + self._last_taken + 1) // 2)
        while self._queue and len(batch) < most and events < MAX_BATCH_EVENTS and size < MAX_BATCH_BYTES:
            append = self._queue.popleft()
            batch.append(append)
            events += append.count
            size += append.size
        self._last_taken = len(batch)
        return batch

    def _send(self, batch: list[Append]) -> None:
        number = self._wire.number
        if any(append.lane.broken or append.lane.connection != number for append in batch):
            self._mending = self._loop.create_task(self._mend(batch, None))
            return
        try:
            parameters = pack_appends(batch)
        except Exception as error:  # noqa: BLE001 one of them cannot be sent: the others are
            self._mending = self._loop.create_task(self._mend(batch, error))
        else:
            self._wire.send(parameters, self._answered)

    def _answered(self, _last: bytes | None, error: psycopg.Error | None) -> None:
        if error is not None:
            self._mending = self._loop.create_task(self._mend(self._under_way, error))
            return
        self._stored(self._under_way)
        self.statistics.commits += 1
        self._done()

    def _stored(self, batch: Sequence[Append]) -> None:
        events = size = 0
        for append in batch:
            events += append.count
            size += append.size
            append.owner.settled(append, None)
        self.statistics.events += events
        if self.on_stored is not None:
            self.on_stored(batch)
        self._release(events, size)

    def _release(self, events: int, size: int) -> None:
        self._events -= events
        self._bytes -= size
        self.is_full = self._events >= self._max_events or self._bytes >= self._max_bytes
        while self._waiting and not self.is_full:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
        if self._waiting and not self.is_full:
            self._loop.call_soon(self._release, 0, 0)

    def _done(self) -> None:
        self._under_way = []
        self._send_next()
        if self._drained is not None and not self._under_way:
            self._drained.set_result(None)

    # When something is wrong with a batch

    async def _mend(self, batch: list[Append], error: BaseException | None) -> None:
        """Brings the batch to an end, one way or the other. `error` is what it met when it was sent."""
        try:
            await self._commit(batch, error)
        except Exception as failure:
            logger.exception("the writer failed")
            self._fail(batch, AppendRefusedError(str(failure)))
        self._done()

    async def _commit(
        self, batch: list[Append], error: BaseException | None = None, *, may_be_stored: bool = False
    ) -> None:
        # From when they came: whoever has waited behind another batch is not kept waiting as long again.
        deadline = max(append.since for append in batch) + self._retry_seconds
        backoff = FIRST_BACKOFF
        while batch := self._unbroken(batch):
            if error is None:
                error = await self._connected(batch)
                batch = self._unbroken(batch)
            if error is None:
                error = await self._inserted(batch)
            if error is None:
                self._stored(batch)
                return
            if isinstance(error, psycopg.IntegrityError) and _is_of_log_positions(error):
                error = await self._log_positions_mended()
            elif isinstance(error, psycopg.IntegrityError):
                if len(batch) == 1 and not may_be_stored:
                    self._fail(batch, PositionTakenError("position taken"))
                    return
                batch, error = await self._without_taken(batch)
            elif not isinstance(error, UNREACHED):
                await self._commit_alone(batch, f"Postgres: {error}", may_be_stored)
                return
            if isinstance(error, UNREACHED):
                may_be_stored = True
                if self._loop.time() >= deadline:
                    self._fail(batch, StoreUnavailableError(f"Postgres: {error}"))
                    return
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, LAST_BACKOFF)
                error = None

    async def _connected(self, batch: list[Append]) -> BaseException | None:
        """Connects, and breaks the lanes that begin on what is not there any more: a server that has taken another
        one's place may lack the last commits. An append behind such a gap could never be read."""
        try:
            if not self._wire.is_open:
                await self._wire.open()
            firsts = {append.lane: append for append in reversed(batch) if append.lane.connection != self._wire.number}
            there = await asyncio.to_thread(self._have_bases, firsts.values()) if firsts else set()
        except UNREACHED as error:
            return error
        for lane, append in firsts.items():
            if append.position == 1 or append.id_bytes in there:
                lane.connection = self._wire.number
            else:
                lane.broken = lane.broken or PositionTakenError("the event before it is gone")
        return None

    async def _inserted(self, batch: list[Append]) -> BaseException | None:
        if not batch:
            return None
        try:
            await self._wire.call(pack_appends(batch))
        except Exception as error:  # noqa: BLE001 it is what became of the batch
            return error
        self.statistics.commits += 1
        return None

    async def _log_positions_mended(self) -> BaseException | None:
        """Log positions were given out again: where a sequence is not copied with its table, it is behind it."""
        logger.warning("the sequence of the log positions is behind the log, and is set right")
        try:
            await asyncio.to_thread(self._recorder.fetch, "mend_positions")
        except UNREACHED as error:
            return error
        return None

    def _fail(self, batch: Iterable[Append], error: StoreError) -> None:
        for append in batch:
            append.lane.broken = append.lane.broken or error
            self._settle_failed(append)

    def _settle_failed(self, append: Append) -> None:
        try:
            append.owner.settled(append, append.lane.broken)
        except Exception:
            logger.exception("an append that failed could not be settled")
        self._release(append.count, append.size)

    def _unbroken(self, batch: list[Append]) -> list[Append]:
        for append in batch:
            if append.lane.broken:
                self._settle_failed(append)
        return [append for append in batch if not append.lane.broken]

    async def _without_taken(self, batch: list[Append]) -> tuple[list[Append], BaseException | None]:
        """Settles what is stored already and what lost its position; returns the rest. The error is what was met when
        the positions were read."""
        try:
            stored = await asyncio.to_thread(self._stored_at, batch)
        except UNREACHED as error:
            return batch, error
        rest: list[Append] = []
        for append in batch:
            found = stored.get(append.id_bytes, {})
            there = [found.get(append.position + offset) for offset in range(append.count)]
            if there == list(zip(append.rows[::2], append.rows[1::2], strict=True)):
                # The commit had gone through and only its answer was lost.
                self._stored([append])
            elif any(there):
                self._fail([append], PositionTakenError("position taken"))
            else:
                rest.append(append)
        return rest, None

    def _have_bases(self, appends: Iterable[Append]) -> set[bytes]:
        """The sessions, of these, of which the event before the append is stored."""
        ids = [UUID(bytes=append.id_bytes) for append in appends]
        bases = [append.position - 1 for append in appends]
        return {session_id.bytes for session_id, *_ in self._recorder.fetch("stored_at", ids, bases, bases)}

    def _stored_at(self, batch: list[Append]) -> dict[bytes, dict[int, tuple[str, bytes]]]:
        ids = [UUID(bytes=append.id_bytes) for append in batch]
        firsts = [append.position for append in batch]
        lasts = [append.position + append.count - 1 for append in batch]
        stored: dict[bytes, dict[int, tuple[str, bytes]]] = defaultdict(dict)
        for session_id, version, topic, state in self._recorder.fetch("stored_at", ids, firsts, lasts):
            stored[session_id.bytes][version] = (topic, state)
        return stored

    async def _commit_alone(self, batch: list[Append], why: str, may_be_stored: bool) -> None:
        """Postgres refused something in the batch: each append on its own, so that only the bad one fails."""
        if len(batch) == 1:
            self._fail(batch, StoreUnavailableError(why) if may_be_stored else AppendRefusedError(why))
            return
        logger.warning("Postgres refused a batch of %d appends, each is now tried alone: %s", len(batch), why)
        for append in batch:
            await self._commit([append], may_be_stored=may_be_stored)


def _is_of_log_positions(error: psycopg.IntegrityError) -> bool:
    return str(error.diag.constraint_name).endswith("_notification_id_idx")
