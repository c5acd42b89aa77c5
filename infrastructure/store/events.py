"""Reading the events of sessions, one session at a time or several at once, and folding them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from uuid import UUID

from eventsourcing.persistence import OperationalError
from psycopg.errors import ProgramLimitExceeded

from turnlog.domain.errors import UnreadableEventError
from turnlog.domain.events import StepEnd
from turnlog.domain.recorded import RecordedEvent
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

    async def read_after(self, positions: Mapping[UUID, int], limit: int) -> list[RecordedEvent]:
        """For each session the events after its position, in order, at most `limit` of each. It is one statement for
        all sessions."""
        return await self._threads.run(self._read_after, list(positions), list(positions.values()), limit)

    async def find_end(self, session_id: UUID, step_id: str) -> StepEnd | None:
        """The event that ended a step, if it is among the last RECENT_ENDS ends of the session."""
        rows = await self._threads.fetch("last_of_topics", session_id, _END_TOPICS, RECENT_ENDS)
        ends = (self._mapper.event(topic, state) for _, topic, state in rows)
        return next((end for end in ends if isinstance(end, _ENDS) and end.step_id == step_id), None)

    async def fold(self, projector: Projector) -> bool:
        """Folds the events after the projector's version in. False if the log does not even reach that version: then
        the projector is of another log. Raises PagesNeeded as the projector does."""
        # From its last event on: if that is there, so are all before it.
        after = max(projector.version - 1, 0)
        count = await self._threads.run(self._fold, projector, after, STATEMENT_EVENTS)
        if projector.version and not count:
            return False
        while count == STATEMENT_EVENTS:
            count = await self._threads.run(self._fold, projector, projector.version, STATEMENT_EVENTS)
        return True

    # On a thread

    def _read(self, session_id: UUID, after: int, upto: int, limit: int) -> list[RecordedEvent]:
        event = self._mapper.event
        rows = self._recorder.fetch("read_session", session_id, after, upto, limit)
        return [
            RecordedEvent(session_id, position, log_position, event(topic, state))
            for position, log_position, topic, state in rows
        ]

    def _read_after(self, ids: list[UUID], positions: list[int], limit: int) -> list[RecordedEvent]:
        event = self._mapper.event
        rows = self._recorder.fetch("read_sessions", ids, positions, limit)
        return [
            RecordedEvent(session_id, position, log_position, event(topic, state))
            for session_id, position, log_position, topic, state in rows
        ]

    def _fold(self, projector: Projector, after: int, limit: int) -> int:
        """Returns the number of events that were read. It folds on the thread, because a long fold must not hold up the
        loop."""
        session_id = projector.session_id
        try:
            pages = self._recorder.fetch("fold_session", session_id, after, limit, session_id, after)
            for _, packed, last in pages:
                fold_page(projector, after + 1, packed, last, self._mapper)
            return pages[0][0] if pages else 0
        except (ValueError, UnreadableEventError):
            pass  # read below as events, which may say more
        except OperationalError as error:
            if not isinstance(error.__cause__, ProgramLimitExceeded):  # more than Postgres packs into one value
                raise
        events = self._read(session_id, after, MAX_POSITION, limit)
        projector.apply_all(events)
        return len(events)
