"""The log as a feed: whoever tails it by log position misses nothing and sees nothing twice, however many write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from eventsourcing.persistence import Notification

from tests.writing import stored, writers
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.recorder import BatchRecorder

PROCESSES = 8
SIZE = {"sessions": 10, "steps": 2, "deltas": 40}


@pytest.fixture
def recorder(settings: Settings) -> Iterator[BatchRecorder]:
    assert settings.database_url is not None
    with UrlDatastore(settings.database_url, schema=settings.database_schema, pool_size=4, timeout=60) as datastore:
        made = BatchRecorder(datastore)
        made.create_table()
        yield made


def test_a_subscriber_misses_nothing_while_eight_processes_write(settings: Settings, recorder: BatchRecorder) -> None:
    expected = PROCESSES * SIZE["sessions"] * (1 + SIZE["steps"] * (SIZE["deltas"] + 2))
    seen: list[Notification] = []
    with recorder.subscribe(gt=0) as tail, writers(settings, PROCESSES, **SIZE) as started:
        for notification in tail:
            seen.append(notification)
            if notification.id >= expected:
                break
        assert stored(started) == expected

    assert [notification.id for notification in seen] == list(range(1, expected + 1))
    positions: Counter[object] = Counter()
    for notification in seen:
        positions[notification.originator_id] += 1
        assert notification.originator_version == positions[notification.originator_id]
    assert len(positions) == PROCESSES * SIZE["sessions"]
    assert recorder.max_notification_id() == expected
