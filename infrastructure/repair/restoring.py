"""The import of an exported session: the same events, at the same positions and with their times, all or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any
from uuid import UUID

from turnlog.domain.errors import InvalidInputError, SessionExistsError, UnreadableEventError
from turnlog.domain.events import OwnerAssigned, SessionEvent, SessionStarted
from turnlog.domain.evolve import evolve
from turnlog.domain.inputs import checked_id
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import Active, SessionState, Unborn, initial_state
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.repair.exported_lines import ExportHeader, parsed_events, parsed_header
from turnlog.infrastructure.repair.importing import ImportReport
from turnlog.infrastructure.repair.whole_append import whole_append
from turnlog.infrastructure.store.appends import OvertakenError
from turnlog.projections.stored_state import StoredState

PAGE_LINES, PAGE_BYTES = 1_000, 8 * 1024 * 1024
"""Largest number and size of the lines that are read at once; a larger line is read by itself."""

Line = str | bytes


async def restore(parts: LogParts, lines: AsyncIterable[Line], user_id: str | None, dry_run: bool) -> ImportReport:
    """Stores the exported session, whole; if it is there already, compares it. It belongs to `user_id` (None: to whom
    it belonged). Raises SessionExistsError, InvalidInputError and StoreError."""
    pages = _pages(lines)
    first = await anext(pages, list[Line]())
    if not first:
        raise InvalidInputError("lines", "there are none")
    header = parsed_header(first.pop(0))
    owner = user_id if user_id is not None else header.user_id
    if owner is not None:
        checked_id(owner, "user_id")
    reading = _Reading(parts.store.mapper.event, header, owner, pages, first)
    standing = await parts.store.standing(header.session_id)
    # Whose it is is asked first, so that nothing of somebody else's session is read.
    if standing.position and not (standing.exists and standing.user_id == owner):
        raise SessionExistsError(f"session_id: {header.session_id} is taken")
    if standing.position:
        await _compare(parts, header.session_id, reading)
    elif dry_run:
        async for _ in reading.events():
            pass
    else:
        try:
            await _append(parts, header.session_id, reading)
        except OvertakenError:
            raise SessionExistsError(f"session_id: {header.session_id} was begun meanwhile") from None
    return ImportReport(header.session_id, "already_there" if standing.position else "new", "turnlog")


async def _append(parts: LogParts, session_id: UUID, reading: _Reading) -> None:
    async with whole_append(parts, session_id, StoredState.before_all(session_id)) as whole:
        async for events in reading.events():
            await whole.copy(events)


async def _compare(parts: LogParts, session_id: UUID, reading: _Reading) -> None:
    """Raises SessionExistsError unless the session that is there begins with these events."""
    after = 0
    async for events in reading.events():
        there = await parts.store.events.read(session_id, after, after + len(events))
        if not await asyncio.to_thread(_are_same, there, events):
            raise SessionExistsError(f"session_id: {session_id} is there, and has other events")
        after += len(events)


def _are_same(there: list[RecordedEvent], events: list[SessionEvent]) -> bool:
    # As bytes, because 1 == True.
    ours = [(recorded.topic, recorded.event.to_json()) for recorded in there]
    return ours == [(event.topic, event.to_json()) for event in events]


class _Reading:
    """Reads the events of an exported session, page by page, and checks that they are those of one."""

    def __init__(
        self,
        event: Callable[[str, bytes], SessionEvent],
        header: ExportHeader,
        owner: str | None,
        pages: AsyncIterator[list[Line]],
        first: list[Line],
    ) -> None:
        self._event = event
        self._header = header
        self._owner = owner
        self._pages = pages
        self._first = first
        self._state: SessionState = initial_state(header.session_id)
        self._version = 0

    async def events(self) -> AsyncIterator[list[SessionEvent]]:
        """The events in pages. Raises InvalidInputError for what is no event of this version or does not follow on what
        is before it, and at the end for what is missing."""
        page = self._first
        while page:
            yield await asyncio.to_thread(self._read, page)
            page = await anext(self._pages, list[Line]())
        if self._version != self._header.version:
            told = f"there are {self._version:,} events, and by the header {self._header.version:,}"
            raise InvalidInputError("lines", told)
        if not isinstance(self._state, Active) or self._state.user_id != self._owner:
            raise InvalidInputError("user_id", "is not the one that the events say")

    def _read(self, lines: list[Line]) -> list[SessionEvent]:
        events = list[SessionEvent]()
        for exported in parsed_events(lines, self._version):
            try:
                event = self._owned(self._event(exported.topic, exported.event))
            except UnreadableEventError as error:
                raise InvalidInputError(f"event {exported.position}", str(error)) from None
            self._follow(event, exported.position)
            events.append(event)
        self._version += len(events)
        return events

    def _follow(self, event: SessionEvent, position: int) -> None:
        if event.at.utcoffset() is None:
            raise InvalidInputError(f"event {position}", "its time has no zone")
        if isinstance(event, SessionStarted) != isinstance(self._state, Unborn):
            raise InvalidInputError(f"event {position}", f"a {event.topic} cannot stand there")
        self._state = evolve(self._state, event)
        if not isinstance(self._state, Active):
            raise InvalidInputError(f"event {position}", "the session was deleted")

    def _owned(self, event: SessionEvent) -> SessionEvent:
        """The event with the session's owner of now, where it names one; the first one, where none does."""
        if not isinstance(event, SessionStarted | OwnerAssigned) or self._owner == self._header.user_id:
            return event
        if event.user_id is None and self._header.user_id is not None:
            return event  # it was given to somebody later
        return event.model_copy(update={"user_id": self._owner})


async def _pages(lines: AsyncIterable[Line]) -> AsyncIterator[list[Line]]:
    page, size = list[Line](), 0
    async for line in lines:
        if not line.strip():
            continue
        if page and (len(page) >= PAGE_LINES or size + len(line) > PAGE_BYTES):
            yield page
            page, size = [], 0
        page.append(line)
        size += len(line)
    if page:
        yield page


async def each_line(lines: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[Line]:
    """The lines one by one. Raises InvalidInputError for what is none."""
    number = 0
    async for line in _each(lines):
        number += 1
        if not isinstance(line, str | bytes):
            raise InvalidInputError(f"lines[{number - 1}]", f"must be a line of text, not {type(line).__name__}")
        yield line


async def _each(lines: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[Any]:
    if isinstance(lines, AsyncIterable):
        async for line in lines:
            yield line
    else:
        for line in lines:
            yield line
