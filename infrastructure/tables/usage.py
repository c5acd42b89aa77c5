"""The projection `usage`: one row for each step and for each report outside a step, and a table of the sessions'
owners."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.store import EventStore
from turnlog.infrastructure.tables.catching_up import open_tables
from turnlog.infrastructure.tables.projection import Projection, Statement
from turnlog.infrastructure.tables.projection_tables import ProjectionTables
from turnlog.infrastructure.tables.usage_reports import UsageFilter
from turnlog.projections.usage import TOKEN_PATHS
from turnlog.projections.usage_changes import UsageChanges, gathered
from turnlog.projections.usage_report import Dimension, UsageReport, UsageRow, summed

_TOKENS = tuple(TOKEN_PATHS)


class UsageProjection(Projection):
    """What each session has used, by step. Deleted sessions stay, because they have cost money. What a fork has copied
    was counted where it was used, and is not counted again. Imported messages have no usage."""

    name = "usage"
    events = (
        e.SessionStarted,
        e.OwnerAssigned,
        e.CompletionStarted,
        e.CompletionFinished,
        e.CompletionInterrupted,
        e.CompletionFailed,
        e.CompletionAbandoned,
        e.UsageReported,
        e.SessionForked,
    )
    tables = """
        create table {usage_owners} (session_id uuid primary key, user_id text not null);
        create index on {usage_owners} (user_id);
        create table {usage} (
            session_id uuid,
            entry text, -- the id of the step or of the report
            is_step boolean not null,
            model text,
            day date, -- in UTC; none yet for an open step
            prompt_tokens numeric not null default 0,
            completion_tokens numeric not null default 0,
            total_tokens numeric not null default 0,
            cached_tokens numeric not null default 0,
            reasoning_tokens numeric not null default 0,
            primary key (session_id, is_step, entry)
        );
        create index on {usage} (day);
    """

    def process(self, recorded: RecordedEvent) -> Iterable[Statement]:
        """The statements for an event."""
        return self.process_batch([recorded])

    def process_batch(self, batch: Sequence[RecordedEvent]) -> Iterable[Statement]:
        """The statements for events together: one for each kind of change, however many there are."""
        for changes in gathered(batch):
            yield from _statements(changes)


def _statements(changes: UsageChanges) -> Iterable[Statement]:
    # What a fork has copied comes before the mark of it, and what comes after is the fork's own.
    if changes.forks:
        yield "delete from {usage} where session_id = any(%s)", (list(changes.forks),)
    for statement, rows in (
        (_FIRST_OWNERS, changes.first_owners),
        (_NEXT_OWNERS, changes.next_owners),
        (_ENTRIES, changes.entries),
        (_ENDS, changes.ends),
    ):
        if rows:
            yield statement, [list(column) for column in zip(*((*key, *row) for key, row in rows.items()), strict=True)]


_FIRST_OWNERS = """insert into {usage_owners} (session_id, user_id) select * from unnest(%s::uuid[], %s::text[])
    on conflict (session_id) do nothing"""
_NEXT_OWNERS = """insert into {usage_owners} (session_id, user_id) select * from unnest(%s::uuid[], %s::text[])
    on conflict (session_id) do update set user_id = excluded.user_id"""
_COUNTS = ", ".join(_TOKENS)
_ARRAYS = ", ".join(["%s::numeric[]"] * len(_TOKENS))
_ENTRIES = f"""insert into {{usage}} (session_id, is_step, entry, model, day, {_COUNTS})
    select * from unnest(%s::uuid[], %s::boolean[], %s::text[], %s::text[], %s::date[], {_ARRAYS})
    on conflict (session_id, is_step, entry) do nothing"""  # noqa: S608 no part of it is a caller's
# A step ends once. As in the view, an end of a step that has ended or was never opened changes nothing.
_ENDS = f"""update {{usage}} u set model = coalesce(e.model, u.model), day = e.day,
        {", ".join(f"{name} = e.{name}" for name in _TOKENS)}
    from unnest(%s::uuid[], %s::text[], %s::text[], %s::date[], {_ARRAYS})
        as e (session_id, entry, model, day, {_COUNTS})
    where u.session_id = e.session_id and u.entry = e.entry and u.is_step and u.day is null"""  # noqa: S608 no part of it is a caller's


async def report_usage(store: EventStore, wanted: UsageFilter, by: Sequence[Dimension]) -> UsageReport:
    """The report, as far as the projection has come. Raises StoreError."""
    tables = await open_tables(store, UsageProjection())
    return await store.run(_read, store.recorder, tables, wanted, by)


def _read(
    recorder: BatchRecorder, tables: ProjectionTables, wanted: UsageFilter, by: Sequence[Dimension]
) -> UsageReport:
    with tables.datastore.transaction(commit=True) as cursor:
        cursor.execute("set transaction isolation level repeatable read, read only")
        # Before the snapshot is taken: otherwise a rebuild could replace the tables with ones that the snapshot sees in
        # part.
        cursor.execute(tables.sql("lock table {usage_owners}, {usage} in access share mode"))
        position = tables.position_within(cursor)
        cursor.execute(tables.sql(_query(wanted, by)), wanted._asdict())
        rows = tuple(UsageRow(**{**row, **_whole(row)}) for row in cursor.fetchall())
    behind = max(0, recorder.log_head() - position)
    return UsageReport(by=tuple(by), rows=rows, total=summed(rows), log_position=position, events_behind=behind)


def _query(wanted: UsageFilter, by: Sequence[Dimension]) -> str:
    columns = [f"{source if dimension in by else 'null'} as {name}" for dimension, (name, source) in _COLUMNS.items()]
    columns += ["count(*) filter (where is_step) as steps", *(f"sum({name}) as {name}" for name in _TOKENS)]
    tests = [test for name, test in _TESTS.items() if getattr(wanted, name) is not None]
    return f"""select {", ".join(columns)}
        from {{usage}} u left join {{usage_owners}} o using (session_id)
        where {" and ".join(["u.day is not null", *tests])}
        group by {", ".join(_COLUMNS[dimension][1] for dimension in by) or "()"}
        order by user_id, model, day"""  # noqa: S608 no part of it is a caller's


def _whole(row: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(row[name] or 0) for name in _TOKENS}


_COLUMNS: dict[Dimension, tuple[str, str]] = {
    "user": ("user_id", "o.user_id"),
    "model": ("model", "u.model"),
    "day": ("day", "u.day"),
}
_TESTS = {
    "user_id": "o.user_id = %(user_id)s",
    "model": "u.model = %(model)s",
    "since": "u.day >= %(since)s",
    "until": "u.day <= %(until)s",
}
