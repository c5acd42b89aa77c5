"""Reading the events of sessions, one session at a time or several at once, and folding them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from uuid import UUID

from eventsourcing.persistence import OperationalError
from psycopg.errors import ProgramLimitExceeded

from turnlog.domain.errors import UnreadableEventError
from turnlog.domain.events import StepEnd
from turnlog.domain.recorded import Position, RecordedEvent
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.text_lane import fold_page
from turnlog.infrastructure.store.threads import StoreThreads
from turnlog.projections.projector import Projector

PAGE_EVENTS = 1_000
"""Events in a page, unless the caller says otherwise."""
STATEMENT_EVENTS = 20_000
"""Events read in one statement, so that no statement takes longer than a connection may."""
MAX_POSITION = 2**62
RECENT_ENDS = 50
"""Ends of steps among which `find_end` looks."""

_ENDS: tuple[type[StepEnd], ...] = StepEnd.__args__
_END_TOPICS = [end.topic for end in _ENDS]


class StoredEvents:
    """The events. Every method raises StoreError, and UnreadableEventError for an event that this version cannot
    read."""

    def __init__(self, threads: StoreThreads, recorder: BatchRecorder, mapper: EventMapper) -> None:
        self._threads = threads
        self._recorder = recorder
        self._mapper = mapper

    async def read(
        self, session_id: UUID, after: int = 0, upto: int = MAX_POSITION, limit: int = MAX_POSITION
    ) -> list[RecordedEvent]:
        """The session's events at positions after < position <= upto, in order, at most `limit`."""
        events: list[RecordedEvent] = []
        while part := await self._threads.run(
            self._read, session_id, after, upto, min(limit - len(events), STATEMENT_EVENTS)
        ):
            events += part
            after = part[-1].position
            if len(part) < STATEMENT_EVENTS:
                break
        return events

    async def pages(
        self, session_id: UUID, after: int = 0, upto: int = MAX_POSITION, size: int | None = None
    ) -> AsyncIterator[list[RecordedEvent]]:
        """The same events in pages of `size` (None: PAGE_EVENTS), each read when it is asked for. Without `upto` it
        ends once nothing is left, and so gives what is appended meanwhile."""
        while after < upto and (page := await self.read(session_id, after, upto, size or PAGE_EVENTS)):
            yield page
            after = page[-1].position

    async def pages_back(self, session_id: UUID, before: int, size: int) -> AsyncIterator[list[RecordedEvent]]:
        """The events before a position in pages of `size`, the last page first. Within a page they are in order."""
        while before > 1:
            after = max(0, before - 1 - size)
            yield await self.read(session_id, after, before - 1)
            before = after + 1

    async def read_after(self, positions: Mapping[UUID, Position], limit: int) -> dict[UUID, list[RecordedEvent]]:
        """For each session the events after its position, in order, at most `limit` of each. A session whose log does
        not have that position is missing: its log went back. It is one statement for all sessions."""
        return await self._threads.run(self._read_after, positions, limit)

    async def find_end(self, session_id: UUID, step_id: str) -> StepEnd | None:
        """The event that ended a step, if it is among the last RECENT_ENDS ends of the session."""
        rows = await self._threads.fetch("last_of_topics", session_id, _END_TOPICS, RECENT_ENDS)
        ends = (self._mapper.event(topic, state) for _, topic, state in rows)
        return next((end for end in ends if isinstance(end, _ENDS) and end.step_id == step_id), None)

    async def fold(self, projector: Projector, upto: int = MAX_POSITION) -> bool:
        """Folds the events after the projector's version in, up to a position. False if the last event that it has seen
        is not in the log: then it is of another log, or of a past that is gone. Raises PagesNeeded as the projector
        does."""
        count: int | None = STATEMENT_EVENTS
        while count == STATEMENT_EVENTS:
            count = await self._threads.run(self._fold, projector, upto, STATEMENT_EVENTS)
        return count is not None

    # On a thread

    def _read(self, session_id: UUID, after: int, upto: int, limit: int) -> list[RecordedEvent]:
        event = self._mapper.event
        rows = self._recorder.fetch("read_session", session_id, after, upto, limit)
        return [
            RecordedEvent(session_id, position, log_position, event(topic, state), commit_id)
            for position, log_position, topic, state, commit_id in rows
        ]

    def _read_after(self, positions: Mapping[UUID, Position], limit: int) -> dict[UUID, list[RecordedEvent]]:
        event = self._mapper.event
        found: dict[UUID, list[RecordedEvent]] = {}
        afters = [after.position for after in positions.values()]
        for row in self._recorder.fetch("read_sessions", list(positions), afters, limit + 1):
            session_id, position, log_position, topic, state, commit_id = row
            if (position, commit_id) == positions[session_id]:
                found[session_id] = []
            elif session_id in found:
                recorded = RecordedEvent(session_id, position, log_position, event(topic, state), commit_id)
                found[session_id].append(recorded)
        return found

    def _fold(self, projector: Projector, upto: int, limit: int) -> int | None:
        """Returns the number of events that were read; None where the projector's last event is not there. It folds on
        the thread, because a long fold must not hold up the loop."""
        session_id, after = projector.session_id, projector.version
        bounds = (session_id, after, upto, limit, session_id, after, session_id, after)
        try:
            ((count, packed, last, commit_id, base),) = self._recorder.fetch("fold_session", *bounds)
            if after and base != projector.commit_id:
                return None
            if count:
                fold_page(projector, after + 1, packed, last, self._mapper)
                projector.commit_id = commit_id
                projector.read_bytes += len(packed)
            return int(count)
        except (ValueError, UnreadableEventError):
            pass  # read below as events, which may say more
        except OperationalError as error:
            if not isinstance(error.__cause__, ProgramLimitExceeded):  # more than Postgres packs into one value
                raise
        events = self._read(session_id, projector.version, upto, limit - (projector.version - after))
        projector.apply_all(events)
        return projector.version - after
