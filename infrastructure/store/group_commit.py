"""The group commit: appends queue up while the batch before them is committed, and all that has queued up is the next
batch.

An append that comes alone is committed alone, as soon as the event loop comes round. Where many streams bring deltas at
a pace of their own, a delta waits a little for the others (`pacing`). Everything happens on the loop: the wire sends a
batch, and its answer settles the batch and sends the next one.

Appends of one session that were decided one on top of the other form a lane. Once one of them fails, those after it
were decided on something that never happened: the lane is broken and they fail too, while the other sessions of the
batch go on. What becomes of a batch that meets an error is in `commit_recovery`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import psycopg

from turnlog.domain.errors import LogClosedError, StoreError
from turnlog.infrastructure.store.alarm import Alarm
from turnlog.infrastructure.store.appends import Append, Past, WriterStatistics
from turnlog.infrastructure.store.commit_recovery import (
    SHORTEST_ATTEMPT,
    CommitRecovery,
    Outcome,
    Stored,
    Unsent,
    outcome_of,
    outcome_of_answer,
)
from turnlog.infrastructure.store.pacing import Pacing
from turnlog.infrastructure.store.packing import new_commit_id, pack_appends
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.wire import Wire
from turnlog.infrastructure.tasks import spawned

logger = logging.getLogger("turnlog")

HAND_OVER = 250
"""Appends that are sent at once, in the middle of a turn of the loop: Postgres commits them while the loop goes on with
the next ones."""
MAX_BATCH_EVENTS = 1_000
"""Of deltas this is about what a socket takes at once. The rest of a larger batch would wait until the loop comes
round, and Postgres with it."""
CALLERS_A_TURN = 128
"""Callers whose commands are decided in one turn of the loop. Each takes a few tenths of a millisecond at most."""
MAX_BATCH_BYTES = 8 * 1024 * 1024


class GroupCommit:
    """The bounded queue in front of the wire. It is full above `max_queued_events` or `max_queued_bytes`, queued or
    under way; after `retry_seconds` without Postgres an append is given up. `wait_seconds`: how long a delta waits for
    those of other streams at most."""

    def __init__(
        self,
        recorder: BatchRecorder,
        wire: Wire,
        *,
        max_queued_events: int = 20_000,
        max_queued_bytes: int = 64 * 1024 * 1024,
        retry_seconds: float = 5.0,
        wait_seconds: float = 0.0,
    ) -> None:
        self._wire = wire
        self._retry_seconds = retry_seconds
        self._max_events = max_queued_events
        self._max_bytes = max_queued_bytes
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Append] = deque()
        self._pacing = Pacing(wait_seconds)
        self._alarm = Alarm(self._loop, self._send_next)
        self._is_due = False
        self._under_way: list[Append] = []
        self._last_taken = 0
        self._recovering: asyncio.Task[None] | None = None
        self._closing = False
        self._drained: asyncio.Future[None] | None = None
        self._turn_began = 0.0
        self._events = self._bytes = 0  # queued or under way
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held: deque[asyncio.Future[None]] = deque()
        self._callers = 0
        self.on_stored: Callable[[Sequence[Append]], None] | None = None
        """Called after each commit with the appends that it stored."""
        self.is_full = False
        """Whether producers have to wait for `room`."""
        self.statistics = WriterStatistics()
        self._past = Past()
        self._recovery = CommitRecovery(
            recorder, wire, retry_seconds, self.statistics, self._past, self._stored, self._failed
        )

    @property
    def queued(self) -> int:
        """Events that are queued or under way."""
        return self._events

    async def let_others_go_on(self) -> None:
        """Waits for a later turn of the loop, if CALLERS_A_TURN have gone on in this one. Of thousands of callers that
        were woken together all go on in the order in which they came."""
        self._callers += 1
        if self._held or self._callers > CALLERS_A_TURN:
            waiter = self._loop.create_future()
            self._held.append(waiter)
            self._come_round_soon()
            await waiter

    async def room(self) -> None:
        """Waits until the queue takes more: this is how a slow database slows the producers."""
        while self.is_full:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter

    def put(self, append: Append) -> None:
        """Queues an append. Its owner's `settled` is called once it is stored or has failed. Raises LogClosedError
        after `close`."""
        if self._closing:
            raise LogClosedError("the log was closed")
        if not self._is_due:
            self._turn_began = self._loop.time()
        append.since = self._turn_began
        self._queue.append(append)
        if self._pacing.due > self._turn_began:
            self._pacing.queued(append, self._turn_began)
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
        self._alarm.stop()
        self._wire.close()

    # Sending

    def _come_round(self) -> None:
        self._is_due = False
        self._callers = 0
        self._send_next()
        if not self._held:
            return
        for _ in range(min(CALLERS_A_TURN, len(self._held))):
            waiter = self._held.popleft()
            if not waiter.done():
                waiter.set_result(None)
        self._come_round_soon()  # after those that go on now

    def _come_round_soon(self) -> None:
        if not self._is_due:
            self._is_due, self._turn_began = True, self._loop.time()
            self._loop.call_soon(self._come_round)

    def _send_next(self) -> None:
        if self._under_way or not self._queue:
            return
        if self._may_wait() and self._pacing.due > self._loop.time():
            self._alarm.set(self._pacing.due)
            return
        self._under_way = self._take()
        if self._wire.is_open:
            self._send(self._under_way)
        else:
            self._recover(Unsent())

    def _may_wait(self) -> bool:
        return len(self._queue) < HAND_OVER and not (self.is_full or self._closing)

    def _take(self) -> list[Append]:
        batch: list[Append] = []
        events = size = 0
        # Of many streams one half is committed while the other half makes its next deltas: with all of them in one
        # batch, either Postgres or the loop has nothing to do.
        most = max(HAND_OVER, (len(self._queue) + self._last_taken + 1) // 2)
        commit_id = new_commit_id()
        while self._queue and len(batch) < most and events < MAX_BATCH_EVENTS and size < MAX_BATCH_BYTES:
            append = self._queue.popleft()
            append.commit_id = commit_id
            batch.append(append)
            events += append.count
            size += append.size
        self._last_taken = len(batch)
        self._pacing.sent(len(self._queue))
        return batch

    def _send(self, batch: list[Append]) -> None:
        if any(append.lane.broken for append in batch):
            self._recover(Unsent())
            return
        try:
            parameters = pack_appends(batch, batch[0].commit_id, self._past)
            late = self._loop.time() - batch[0].since
            self._wire.patience = max(self._retry_seconds - late, SHORTEST_ATTEMPT)
            self._wire.send(parameters, self._answered)
        except Exception as error:  # noqa: BLE001 one of them cannot be sent: the others are
            self._recover(outcome_of(error))

    def _answered(self, answer: bytes | None, error: psycopg.Error | None) -> None:
        outcome = outcome_of_answer(answer) if error is None else outcome_of(error)
        if not isinstance(outcome, Stored):
            self._recover(outcome)
            return
        self._past.stored(outcome.log_position, self._under_way[0].commit_id)
        self._stored(self._under_way)
        self.statistics.commits += 1
        self._done()

    def _recover(self, outcome: Outcome) -> None:
        self._recovering = spawned(self._recovered(self._under_way, outcome), "recovering a batch")

    async def _recovered(self, batch: list[Append], outcome: Outcome) -> None:
        await self._recovery.recover(batch, outcome)
        self._done()

    def _done(self) -> None:
        self._under_way = []
        self._send_next()
        if self._drained is not None and not self._under_way:
            self._drained.set_result(None)

    # Settling

    def _stored(self, batch: Sequence[Append]) -> None:
        events = size = 0
        past, now = self._past.number, self._loop.time()
        for append in batch:
            events += append.count
            size += append.size
            append.lane.past, append.lane.stored_at = past, now
            self._settle(append, None)
        self.statistics.events += events
        if self.on_stored is not None:
            try:
                self.on_stored(batch)
            except Exception:
                logger.exception("followers could not be told what was stored")
        self._release(events, size)

    def _failed(self, append: Append) -> None:
        self.statistics.failed += append.count
        self._settle(append, append.lane.broken)
        self._release(append.count, append.size)

    def _settle(self, append: Append, error: StoreError | None) -> None:
        """Tells the owner. What goes wrong there is no reason for the others, or for the next batch, to wait."""
        try:
            append.owner.settled(append, error)
        except Exception:
            logger.exception("an append could not be settled")

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
