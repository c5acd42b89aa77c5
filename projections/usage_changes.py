"""What events change in the table of usage, many of them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.usage import TOKEN_PATHS
from turnlog.projections.usage_report import counted, in_day, plain

_NONE_YET = (0,) * len(TOKEN_PATHS)

Entry = tuple[str | date | int | None, ...]
"""The model, the day (none yet for an open step) and the tokens of a step or a report."""


@dataclass(slots=True)
class UsageChanges:
    """Changes that are made together, in this order: the entries of `forks` go; owners come, those that a session began
    with only where there is none; `entries` come, by session, whether it is a step, and id, only where there is none;
    and open steps end, by session and id."""

    forks: set[UUID] = field(default_factory=set)
    first_owners: dict[tuple[UUID], tuple[str]] = field(default_factory=dict)
    next_owners: dict[tuple[UUID], tuple[str]] = field(default_factory=dict)
    entries: dict[tuple[UUID, bool, str], Entry] = field(default_factory=dict)
    ends: dict[tuple[UUID, str], Entry] = field(default_factory=dict)

    def fork(self, session_id: UUID) -> None:
        """All entries of the session are copies from another one: the copied events come before this."""
        self.forks.add(session_id)
        self.entries = {key: entry for key, entry in self.entries.items() if key[0] != session_id}

    def end(self, session_id: UUID, step_id: str, entry: Entry) -> None:
        """A step ends, which may have begun in these changes, too."""
        self.ends.setdefault((session_id, step_id), entry)
        key = session_id, True, step_id
        if (begun := self.entries.get(key)) is not None and begun[1] is None:
            self.entries[key] = (entry[0] or begun[0], *entry[1:])


def gathered(batch: Iterable[RecordedEvent]) -> Iterator[UsageChanges]:
    """What the events change: nearly always all together. It is the same as the changes of each one, one by one."""
    changes = UsageChanges()
    for recorded in batch:
        session_id, event = recorded.session_id, recorded.event
        # An end from before a step has begun is not that step's.
        if isinstance(event, e.CompletionStarted) and _is_ended_before(changes, session_id, event.step_id):
            yield changes
            changes = UsageChanges()
        _gather(changes, session_id, event)
    yield changes


def _is_ended_before(changes: UsageChanges, session_id: UUID, step_id: str) -> bool:
    return (session_id, step_id) in changes.ends and (session_id, True, step_id) not in changes.entries


def _gather(changes: UsageChanges, session_id: UUID, event: Any) -> None:
    match event:
        case e.SessionStarted() if event.user_id is not None:
            changes.first_owners.setdefault((session_id,), (event.user_id,))
        case e.OwnerAssigned():
            changes.next_owners[session_id,] = (event.user_id,)
        case e.CompletionStarted():
            changes.entries.setdefault((session_id, True, event.step_id), (plain(event.model), None, *_NONE_YET))
        case e.UsageReported():
            report = plain(event.model), in_day(event.at), *counted(event.usage)
            changes.entries.setdefault((session_id, False, event.id), report)
        case e.SessionForked():
            changes.fork(session_id)
        case e.CompletionEnded():
            changes.end(session_id, event.step_id, (plain(event.model), in_day(event.at), *counted(event.usage or {})))
        case _:
            pass
