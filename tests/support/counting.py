"""Projections for tests."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from turnlog.domain.events import SessionTitled
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.tables.projection import Projection, Statement


class Counting(Projection):
    """Counts the events of each session: an event that is applied twice, or not at all, shows for ever."""

    name = "counting"
    tables = "create table {counting} (session_id uuid primary key, events bigint not null, sum bigint not null)"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        """How long each event takes."""

    def process(self, recorded: RecordedEvent) -> Iterable[Statement]:
        time.sleep(self.seconds)
        statement = """insert into {counting} as t values (%s, 1, %s)
            on conflict (session_id) do update set events = t.events + 1, sum = t.sum + excluded.sum"""
        yield statement, (recorded.session_id, recorded.position)


class CountingTogether(Counting):
    """The same, of many events in one statement."""

    def process_batch(self, batch: Sequence[RecordedEvent]) -> Iterable[Statement]:
        time.sleep(self.seconds * len(batch))
        statement = """insert into {counting} as t select id, count(*), sum(position)
            from unnest(%s::uuid[], %s::bigint[]) as each (id, position) group by id
            on conflict (session_id) do update set events = t.events + excluded.events, sum = t.sum + excluded.sum"""
        yield statement, ([recorded.session_id for recorded in batch], [recorded.position for recorded in batch])


class Refusing(Projection):
    """Cannot take a title that says so."""

    name = "refusing"
    events = (SessionTitled,)
    tables = "create table {refusing} (title text not null check (title <> 'refuse'))"

    def process(self, recorded: RecordedEvent) -> Iterable[Statement]:
        assert isinstance(recorded.event, SessionTitled)
        if recorded.event.title == "raise":
            raise LookupError("no such thing")
        yield "insert into {refusing} values (%s)", (recorded.event.title,)


class RefusingTogether(Refusing):
    """The same, of many events in one statement."""

    def process_batch(self, batch: Sequence[RecordedEvent]) -> Iterable[Statement]:
        titles = [params[0] for recorded in batch for _, params in self.process(recorded)]
        yield "insert into {refusing} select unnest(%s::text[])", (titles,)
