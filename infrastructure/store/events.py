"""Reading the events of sessions, one session at a time or several at once, and folding them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Self
from uuid import UUID

from eventsourcing.persistence import OperationalError
from psycopg.errors import ProgramLimitExceeded

from turnlog.domain.errors import UnreadableEventError
from turnlog.domain.events import OwnerAssigned, SessionDeleted, SessionStarted, StepEnd
from turnlog.domain.evolve import WITHOUT_EFFECT, evolve
from turnlog.domain.recorded import Position, RecordedEvent
from turnlog.domain.state import Active, initial_state
from turnlog.infrastructure.store.encoding import Copied
from turnlog.infrastructure.store.mapper import EventMapper
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.standings import Standing
from turnlog.infrastructure.store.text_lane import fold_page
from turnlog.infrastructure.store.threads import StoreThreads
from turnlog.projections.projector import Projector
from turnlog.projections.stored_state import StoredState

PAGE_EVENTS = 1_000
"""Events in a page, unless the caller says otherwise."""
STATEMENT_EVENTS = 20_000
"""Events read in one statement, so that no statement takes longer than a connection may."""
FOLD_EVENTS_AT_FIRST, FOLD_EVENTS, FOLD_BYTES = 1_000, 5_000, 4 * 1024 * 1024
"""Events that are folded in one piece: at first, and at most; and about how many bytes, once it is seen how large they
are."""
MAX_POSITION = 2**62
RECENT_ENDS = 50
"""Ends of steps among which `find_end` looks."""

_ENDS: tuple[type[StepEnd], ...] = StepEnd.__args__
_END_TOPICS = [end.topic for end in _ENDS]
_WITHOUT_EFFECT = [event.topic for event in WITHOUT_EFFECT]
_PASSED_OVER = frozenset(_WITHOUT_EFFECT)
_OF_OWNERS = [SessionStarted.topic, OwnerAssigned.topic, SessionDeleted.topic]


class Folding:
    """Folds events in, a piece at a time, and stops after each one that others follow. Set `projector` to go on with
    another one that is where the one before it was. `is_there`: the log has the last event that the projector had
    seen."""

    def __init__(
        self, fold: Callable[[Projector, int, int], Awaitable[int | None]], projector: Projector, upto: int
    ) -> None:
        self.projector = projector
        self.is_there = True
        self._fold = fold
        self._upto = upto
        self._limit = FOLD_EVENTS_AT_FIRST

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Projector:
        projector, limit = self.projector, self._limit
        before = projector.read_bytes
        count = await self._fold(projector, self._upto, limit)
        self.is_there = self.is_there and count is not None
        if count != limit:
            raise StopAsyncIteration
        size = max(1, projector.read_bytes - before)
        self._limit = max(1, min(FOLD_EVENTS, limit * 5, limit * FOLD_BYTES // size))
        return projector


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

    async def copied(self, session_id: UUID, upto: int, size: int) -> AsyncIterator[list[Copied]]:
        """The session's events up to a position as they are stored, in pages of `size`. The last of each are read."""
        after = 0
        while after < upto and (page := await self._threads.run(self._copied, session_id, after, upto, size)):
            yield page
            after += len(page)

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

    async def judged(self, session_id: UUID, standing: Standing) -> Standing:
        """The standing of a session without a line in the lists, by its events."""
        rows = await self._threads.fetch("last_of_topics", session_id, _OF_OWNERS, RECENT_ENDS)
        state = initial_state(session_id)
        for _, topic, body in reversed(rows):
            state = evolve(state, self._mapper.event(topic, body))
        is_active = isinstance(state, Active)
        return standing._replace(exists=is_active, user_id=state.user_id if isinstance(state, Active) else None)

    async def fold(self, projector: Projector, upto: int = MAX_POSITION) -> bool:
        """Folds the events after the projector's version in, up to a position. False if the last event that it has seen
        is not in the log: then it is of another log, or of a past that is gone. Raises PagesNeeded as the projector
        does."""
        async for _ in (pieces := self.folding(projector, upto)):
            pass
        return pieces.is_there

    def folding(self, projector: Projector, upto: int = MAX_POSITION) -> Folding:
        """The same piece by piece."""
        return Folding(partial(self._threads.run, self._fold), projector, upto)

    async def evolve(self, stored: StoredState) -> tuple[StoredState, bool] | None:
        """The state after the events that follow, at most STATEMENT_EVENTS of them, and whether these are all. None if
        the event that the state rests on is not in the log: then it is of another log, or of a past that is gone."""
        return await self._threads.run(self._evolve, stored)

    # On a thread

    def _evolve(self, stored: StoredState) -> tuple[StoredState, bool] | None:
        state, after, base, _ = stored
        bounds = (after, _WITHOUT_EFFECT, state.session_id, after, STATEMENT_EVENTS + 1)
        rows = self._recorder.fetch("read_state_events", *bounds)
        if after and (not rows or rows[0][:2] != (after, base)):
            return None
        for position, _, topic, body in rows:
            if position > after and body is not None:
                state = evolve(state, self._mapper.event(topic, body))
        position, commit_id = rows[-1][:2] if rows else (0, 0)
        return stored._replace(state=state, version=position, commit_id=commit_id), len(rows) <= STATEMENT_EVENTS

    def _read(self, session_id: UUID, after: int, upto: int, limit: int) -> list[RecordedEvent]:
        event = self._mapper.event
        rows = self._recorder.fetch("read_session", session_id, after, upto, limit)
        return [
            RecordedEvent(session_id, position, log_position, event(topic, state), commit_id)
            for position, log_position, topic, state, commit_id in rows
        ]

    def _copied(self, session_id: UUID, after: int, upto: int, limit: int) -> list[Copied]:
        rows = self._recorder.fetch("read_session", session_id, after, upto, limit)
        last, event = rows[-1][0] if rows else 0, self._mapper.event
        return [
            Copied(topic, body, event(topic, body) if position == last or topic not in _PASSED_OVER else None)
            for position, _, topic, body, _ in rows
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
