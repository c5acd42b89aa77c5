"""The log as a feed: the events of all sessions in the order of their log positions, in batches.

The feed ends at the head of the log: the log position up to which nothing new will appear, although writers commit in
any order (`settled` in schema.sql, tests/store/test_feed.py). A batch says how far it looked, and not only what it
found. Most events are deltas, and whoever wants none of them still gets past them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventsourcing.persistence import ShutDown, Subscription
from eventsourcing.postgres import PostgresApplicationRecorder

from turnlog.infrastructure.store.recorder import BatchRecorder, PolledSubscription
from turnlog.infrastructure.store.rows import EventRow

MAX_SCANNED = 50_000
"""Log positions that one statement looks through, so that no statement takes longer than a connection may."""
MAX_FOUND = 1_000
"""Events in a batch."""
MAX_BYTES = 8 * 1024 * 1024
"""Bytes of the bodies in a batch, without the last one."""


class LogBatch(NamedTuple):
    """The rows of the wanted topics at log positions after < position <= id. The library wants the name `id`."""

    after: int
    id: int
    rows: list[EventRow]


def read_batch(recorder: BatchRecorder, after: int, topics: Sequence[str], upto: int | None = None) -> LogBatch:
    """The next batch after a log position. It ends at `upto` at the latest, a head of the log that was seen before
    (None: the head as it is now). Its `id` is `after` when there is nothing new."""
    # Not the lower of both: the head may be held back by now, and who relies on `upto` would miss events.
    head = recorder.log_head() if upto is None else upto
    end = max(after, min(head, after + MAX_SCANNED))
    if end == after:
        return LogBatch(after, after, [])
    found = recorder.fetch("read_log", after, end, list(topics), MAX_FOUND, MAX_BYTES)
    rows = [EventRow(*columns) for *columns, _ in found]
    is_cut = len(rows) == MAX_FOUND or bool(found and len(rows) < found[0][-1])
    return LogBatch(after, rows[-1].log_position if is_cut else end, rows)


class FeedRecorder(BatchRecorder):
    """A recorder whose subscriptions give batches, where those of the library give single events."""

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[PostgresApplicationRecorder]:
        """The batches after the log position `gt`: those that are there, then those that come, until it is stopped."""
        return BatchSubscription(recorder=self, gt=gt, topics=topics)


class BatchSubscription(PolledSubscription):
    """The library's subscription with its threads and its queue, but with batches in place of events."""

    _recorder: FeedRecorder

    def _pull(self) -> None:
        while not self._has_been_stopped:
            self._has_been_notified.clear()
            batch = read_batch(self._recorder, self._last_notification_id or 0, self._topics)
            if batch.id == batch.after:
                break
            try:
                self._notifications_queue.put([batch])  # type: ignore[list-item]  # in place of events
            except ShutDown:
                break
            self._last_notification_id = batch.id
