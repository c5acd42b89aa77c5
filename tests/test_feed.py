"""The log as a feed: whoever tails it by log position misses nothing and sees nothing twice, however many write."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack

from eventsourcing.persistence import Notification

from tests.processes import Child
from tests.programs import converse
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.recorder import BatchRecorder

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
