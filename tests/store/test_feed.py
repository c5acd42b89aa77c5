"""The log as a feed: whoever tails it by log position misses nothing and sees nothing twice, however many write."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import Notification, StoredEvent

from tests.support.appends import held_back, under_way
from tests.support.processes import Child
from tests.support.programs import converse
from turnlog import SessionLog, Settings
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.feed import MAX_BYTES, MAX_FOUND, read_batch
from turnlog.infrastructure.store.recorder import BatchRecorder

pytestmark = pytest.mark.owner  # they make tables of their own


PROCESSES, SESSIONS, STEPS, DELTAS = 8, 10, 2, 40
EXPECTED = PROCESSES * SESSIONS * (1 + STEPS * (DELTAS + 2))


async def test_a_subscriber_misses_nothing_while_eight_processes_write(log: SessionLog, settings: Settings) -> None:
    with ExitStack() as stack:
        children = [
            stack.enter_context(Child(converse, settings, f"u{number}", SESSIONS, STEPS, DELTAS))
            for number in range(PROCESSES)
        ]
        assert {await child.hear() for child in children} == {"ready"}
        tail = asyncio.create_task(asyncio.to_thread(tailed, settings))
        for child in children:
            child.say("go")
        assert [await child.hear() for child in children] == [EXPECTED // PROCESSES] * PROCESSES
        seen = await tail

    assert [notification.id for notification in seen] == list(range(1, EXPECTED + 1))
    positions: Counter[object] = Counter()
    for notification in seen:
        positions[notification.originator_id] += 1
        assert notification.originator_version == positions[notification.originator_id]
    assert len(positions) == PROCESSES * SESSIONS


def tailed(settings: Settings) -> list[Notification]:
    """All that the library's subscription gives, up to as many as there will be."""
    seen: list[Notification] = []
    datastore = UrlDatastore(settings.database_url or "", schema=settings.database_schema, pool_size=4, timeout=60)
    with datastore, BatchRecorder(datastore).subscribe(gt=0) as subscription:
        for notification in subscription:
            seen.append(notification)
            if notification.id >= EXPECTED:
                return seen
    return seen


def test_nothing_is_read_above_an_append_that_is_under_way(settings: Settings) -> None:
    with UrlDatastore(settings.database_url or "", schema=settings.database_schema, pool_size=4, timeout=60) as store:
        recorder = BatchRecorder(store)
        recorder.create_table()
        assert recorder.log_head() == 0
        with under_way(settings) as first:
            assert (recorder.log_head(), read_batch(recorder, 0, ["t"])) == (0, (0, 0, []))
            recorder.insert_events([StoredEvent(uuid4(), 1, "t", b"x")])
            with under_way(settings) as second:
                recorder.insert_events([StoredEvent(uuid4(), 1, "t", b"x")])
                assert recorder.log_head() == 0
                assert recorder.select_notifications(1, 10) == []
                first.commit()
                assert [row.log_position for row in read_batch(recorder, 0, ["t"]).rows] == [1, 2]
                second.rollback()
        assert [row.log_position for row in read_batch(recorder, 0, ["t"]).rows] == [1, 2, 4]
        assert read_batch(recorder, 0, ["t"]).id == recorder.log_head() == 4


def test_what_was_settled_once_can_be_read_when_the_head_is_held_back(settings: Settings) -> None:
    with UrlDatastore(settings.database_url or "", schema=settings.database_schema, pool_size=4, timeout=60) as store:
        recorder = BatchRecorder(store)
        recorder.create_table()
        recorder.insert_events([StoredEvent(uuid4(), 1, "t", b"x") for _ in range(3)])
        head = recorder.log_head()
        with held_back(settings):
            assert (head, recorder.log_head(), recorder.log_end()) == (3, 0, 3)
            assert len(read_batch(recorder, 0, ["t"]).rows) == 0
            assert len(read_batch(recorder, 0, ["t"], upto=head).rows) == 3


@pytest.mark.parametrize("sizes", [[10] * 2_500, [3_000_000] * 7, [9_000_000, 10, 9_000_000]])
def test_batches_hold_every_wanted_event_and_few_bytes(settings: Settings, sizes: list[int]) -> None:
    with UrlDatastore(settings.database_url or "", schema=settings.database_schema, pool_size=4, timeout=60) as store:
        recorder = BatchRecorder(store)
        recorder.create_table()
        for first in range(0, len(sizes), 1_000):
            recorder.insert_events(
                [StoredEvent(uuid4(), 1, topic, b"x" * size) for size in sizes[first : first + 1_000] for topic in "ab"]
            )
        batches = [read_batch(recorder, 0, ["b"])]
        while batches[-1].id > batches[-1].after:
            batches.append(read_batch(recorder, batches[-1].id, ["b"]))

    assert [row.log_position for batch in batches for row in batch.rows] == list(range(2, 2 * len(sizes) + 1, 2))
    assert all(batch.after < row.log_position <= batch.id for batch in batches for row in batch.rows)
    assert all(sum(len(row.state) for row in batch.rows[:-1]) < MAX_BYTES for batch in batches)
    assert max(len(batch.rows) for batch in batches) <= MAX_FOUND
    assert batches[-1] == (2 * len(sizes), 2 * len(sizes), [])


def test_a_batch_gets_past_what_is_not_wanted_and_no_further_than_it_may(settings: Settings) -> None:
    with UrlDatastore(settings.database_url or "", schema=settings.database_schema, pool_size=4, timeout=60) as store:
        recorder = BatchRecorder(store)
        recorder.create_table()
        recorder.insert_events([StoredEvent(uuid4(), 1, "a", b"x") for _ in range(10)])

        assert read_batch(recorder, 0, ["b"]) == (0, 10, [])
        assert read_batch(recorder, 3, ["b"], upto=5) == (3, 5, [])
        assert read_batch(recorder, 7, ["b"], upto=5) == (7, 7, [])


@pytest.mark.parametrize(("named", "head"), [(4, 3), (2, 2), (0, 0)])
def test_the_head_is_below_what_is_under_way_however_late_its_lock_was_taken(
    settings: Settings, named: int, head: int
) -> None:
    schema = settings.database_schema
    with UrlDatastore(settings.database_url or "", schema=schema, pool_size=2, timeout=60) as store:
        recorder = BatchRecorder(store)
        recorder.create_table()
        recorder.insert_events([StoredEvent(uuid4(), 1, "t", b"x") for _ in range(3)])
        with psycopg.connect(settings.database_url or "") as connection:
            connection.execute(
                "select pg_advisory_lock_shared(%s::regclass::oid::integer, %s)", (f"{schema}.turnlog_events", named)
            )
            assert recorder.log_head() == head
