"""When a process looks at the log: after its own commits, after notices of other processes, and from time to time.

It looks at the sessions that are followed here, and at the steps that are written here, which somebody else may end.
It looks when

* this process has stored something itself, which it knows without asking a server,
* a notice of another process names the session (see `notices`),
* some time has passed: seldom while notices come, often while they do not (see `poll_loop`). So a lost notice costs
  time and nothing else.

A poll is one statement for all sessions. LISTEN instead would wake every process at each commit of any other,
would need a connection of its own, and does not get through poolers that share connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from turnlog.domain.errors import LogClosedError, SessionNotFoundError, UnknownPositionError, UnreadableEventError
from turnlog.domain.recorded import Position, RecordedEvent
from turnlog.infrastructure.follow.mailbox import Mailbox
from turnlog.infrastructure.follow.notices import Notices, Patience
from turnlog.infrastructure.follow.poll_loop import SAFETY_SECONDS, PollLoop
from turnlog.infrastructure.follow.source import FOLLOW_PAGE_EVENTS, FollowerCursor, Source
from turnlog.infrastructure.read.views import Views
from turnlog.infrastructure.tasks import Background, Drain, Shared
from turnlog.projections.turn_watch import TurnWatch

if TYPE_CHECKING:
    from turnlog.infrastructure.store.appends import Append
    from turnlog.infrastructure.store.store import EventStore


WATCH_PAGE_SESSIONS = 200
"""Sessions that are read in one statement."""
PAUSE_A_SESSION, LONGEST_PAUSE = 0.00025, 0.025
"""Seconds between two such statements: for each session that is followed here, and at most."""
NOTICES, STOPS = "notices", "stops"


@dataclass(slots=True)
class FollowStatistics:
    """What following costs this log: the sessions and followers now, and the statements that have read for them."""

    sessions: int = 0
    followers: int = 0
    reads: int = 0


class StepWatch(Protocol):
    """A step that is written here. It wants to know at once when somebody else has ended it."""

    session_id: UUID

    @property
    def open_at(self) -> float:
        """When it was last known to be open, by the clock of the loop: an append of its session was stored."""

    async def look(self, version: int | None = None) -> None:
        """Finds out whether the step is still open. `version` is that of the session now, if it is known."""


class SessionWatcher:
    """Holds the sources of the sessions that are followed here, and the steps that are written here."""

    def __init__(self, store: EventStore, views: Views, notices: Notices | None) -> None:
        self._store = store
        self._views = views
        self._notices = notices
        self._sources: dict[bytes, Source] = {}
        self._steps: dict[bytes, set[StepWatch]] = {}
        self._opening = Shared[tuple[UUID, bool], Source]()
        self._due: set[bytes] = set()
        self._reading = Drain(self._due, self._read_due)
        self._is_told = False
        self._patience = {channel: Patience() for channel in (NOTICES, STOPS)}
        self._stopped: set[bytes] = set()
        self._asking = Drain(self._stopped, self._ask_for_stopped)
        self._step_looks = Background()
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self._next_read = 0.0
        self._reads = self._found = 0
        self._mailbox: Mailbox | None = None
        self._poll_loops = {
            NOTICES: PollLoop(self._sources, self._look_by_the_clock),
            STOPS: PollLoop(self._steps, self._ask_for_steps),
        }
        if notices is not None:
            self._mailbox = Mailbox(notices, self._sources, self._heard, self.look)
            self._poll_loops[NOTICES].listener = self._mailbox
            stops = self._poll_loops[STOPS]
            # What was said before the subscription began is lost, so everything is looked at then.
            stops.listener = notices.listener_to_stops(self._heard_of_stops, stops.look_at_all)

    async def close(self) -> None:
        """Ends all followers with LogClosedError, and looks at nothing more."""
        self._is_closed = True
        for source in list(self._sources.values()):
            self._failed(source, LogClosedError("the log was closed"))
        for poll_loop in self._poll_loops.values():
            await poll_loop.stop()
        for tasks in (self._opening, self._reading, self._asking, self._step_looks):
            await tasks.close()
        if self._mailbox is not None:
            await self._mailbox.close()

    def statistics(self) -> FollowStatistics:
        """The costs up to now."""
        sources = list(self._sources.values())  # a copy: it may be asked from another thread
        return FollowStatistics(len(sources), sum(len(source.cursors) for source in sources), self._reads)

    # What this process did

    def stored(self, appends: Sequence[Append]) -> None:
        """Called after each commit of this process, with what it stored. Every delta comes through here."""
        if not self._sources and self._notices is None:
            return
        ids = {append.id_bytes for append in appends}
        if self._sources:
            self.look(ids)
        if self._notices is not None:
            self._notices.appended(ids)

    def steps_ended(self, session_id: UUID) -> None:
        """This process has ended steps of the session that other processes may be writing. They are told at once."""
        self._look_at_steps([session_id.bytes])
        if self._notices is not None:
            self._notices.stopped([session_id.bytes])

    # Sessions that are followed

    async def source(self, session_id: UUID, *, watched: bool) -> Source:
        """The session's source, made if there is none; `watched`: one that says where turns have ended. The caller adds
        a cursor to it without awaiting in between: a source without cursors would stay for ever. Raises
        SessionNotFoundError, StoreError and LogClosedError."""
        while True:
            source = self._sources.get(session_id.bytes)
            if source is not None and (source.is_watched or not watched):
                return source
            opened = await self._opening.run((session_id, watched), lambda: self._open(session_id, watched))
            if self._is_closed:
                raise LogClosedError("the log was closed")
            # Added here and not by `_open`: whoever asked for it first may have been cancelled, or may have left.
            source = self._sources.setdefault(session_id.bytes, opened)
            self._poll_loops[NOTICES].start()
            if self._mailbox is not None:
                self._mailbox.follow(session_id.bytes)
            self.look([session_id.bytes])  # the session may have gone on since it was loaded
            if source.is_watched or not watched:
                return source

    async def _open(self, session_id: UUID, watched: bool) -> Source:
        if not watched:  # the next event is all that is wanted: how the session stands costs the same for every one
            standing = await self._store.standing(session_id)
            if not standing.exists:
                raise SessionNotFoundError(session_id)
            return Source(session_id, self._store, Position(standing.position, standing.commit_id), None)
        projector = await self._views.load_end(session_id, 1)
        if not projector.exists:
            raise SessionNotFoundError(session_id)
        opened = Source(session_id, self._store, Position(projector.version, projector.commit_id), TurnWatch(projector))
        while (source := self._sources.get(session_id.bytes)) is not None and not source.watch_as(opened):
            missed = await self._store.events.read(session_id, opened.position, source.position)
            if not missed:
                break  # the log went back: the source is about to find out
            opened.came(missed)
        return opened

    def left(self, source: Source, cursor: FollowerCursor) -> None:
        """A follower has left. The source goes with the last one."""
        source.cursors.discard(cursor)
        if not source.cursors:
            self._drop(source)

    def _drop(self, source: Source) -> None:
        session_id = source.session_id.bytes
        if self._sources.get(session_id) is source:
            del self._sources[session_id]
            if self._mailbox is not None:
                self._mailbox.leave(session_id)

    def look(self, ids: Iterable[bytes]) -> None:
        """Reads what is new in those of the sessions that are followed here.

        Sessions that are due at the same time share a statement. What becomes due while it runs shares the next one.
        """
        self._due.update(session_id for session_id in ids if session_id in self._sources)
        self._reading.start()

    def _look_by_the_clock(self, ids: Iterable[bytes]) -> None:
        self.look(ids)
        if self._mailbox is not None:
            self._mailbox.renew()

    def _heard(self, ids: Iterable[bytes]) -> None:
        """Somebody says that there is something new in these sessions."""
        self._is_told = True
        self.look(ids)

    async def _read_due(self) -> None:
        # The pause is in front, and not behind the read before: where nothing is due there is no timer that wakes.
        if (pause := self._next_read - self._loop.time()) > 0:
            await asyncio.sleep(pause)
        ids = [self._due.pop() for _ in range(min(len(self._due), WATCH_PAGE_SESSIONS))]
        is_told, self._is_told, found = self._is_told, False, self._found
        await self._read([self._sources[session_id] for session_id in ids if session_id in self._sources])
        if self._found != found:
            self._patience[NOTICES].rewarded()
        elif is_told:
            await self._patience[NOTICES].disappointed()
        if len(ids) < WATCH_PAGE_SESSIONS:
            self._next_read = self._loop.time() + min(PAUSE_A_SESSION * len(self._sources), LONGEST_PAUSE)

    async def _read(self, sources: Sequence[Source]) -> None:
        if not sources:
            return
        by_id = {source.session_id: source for source in sources}
        positions = {source.session_id: source.last for source in sources}
        self._reads += 1
        try:
            found = await self._store.events.read_after(positions, FOLLOW_PAGE_EVENTS)
            for session_id, source in by_id.items():
                if session_id not in found:
                    self._failed(source, await self._gone(source))
                elif found[session_id]:
                    self._came(source, found[session_id])
        except Exception as error:  # noqa: BLE001 whatever it is, no follower may wait for ever
            if isinstance(error, UnreadableEventError) and len(sources) > 1:
                for source in sources:  # one of the sessions has that event: the others go on
                    await self._read([source])
                return
            for source in sources:
                self._failed(source, error)

    def _came(self, source: Source, events: list[RecordedEvent]) -> None:
        self._poll_loops[NOTICES].has_found = True
        self._found += len(events)
        source.came(events)
        if len(events) == FOLLOW_PAGE_EVENTS:
            self._due.add(source.session_id.bytes)

    async def _gone(self, source: Source) -> UnknownPositionError:
        return UnknownPositionError(source.position, (await self._store.standing(source.session_id)).position)

    def _failed(self, source: Source, error: Exception) -> None:
        self._drop(source)
        source.fail(error)

    # Steps that are written here

    def watch(self, step: StepWatch) -> None:
        """From now on `step` looks whenever somebody else may have ended it."""
        self._steps.setdefault(step.session_id.bytes, set()).add(step)
        self._poll_loops[STOPS].start()

    def unwatch(self, step: StepWatch) -> None:
        """The step has ended."""
        steps = self._steps.get(step.session_id.bytes)
        if steps is not None:
            steps.discard(step)
            if not steps:
                del self._steps[step.session_id.bytes]

    def _heard_of_stops(self, ids: Iterable[bytes]) -> None:
        """Somebody says that steps in these sessions were ended."""
        self._stopped.update(session_id for session_id in ids if session_id in self._steps)
        self._asking.start()

    async def _ask_for_stopped(self) -> None:
        ids = [self._stopped.pop() for _ in range(len(self._stopped))]
        steps = self._steps_in(ids)
        await asyncio.gather(*(self._ask_for_step(session_id) for session_id in ids))
        if self._steps_in(ids) == steps:
            await self._patience[STOPS].disappointed()
        else:
            self._patience[STOPS].rewarded()

    def _steps_in(self, ids: Iterable[bytes]) -> list[StepWatch]:
        return [step for session_id in ids for step in self._steps.get(session_id, ())]

    def _look_at_steps(self, ids: Iterable[bytes]) -> None:
        """Somebody has ended steps in these sessions."""
        for step in self._steps_in(ids):
            self._step_looks.spawn(step.look())

    def _ask_for_steps(self, ids: Iterable[bytes]) -> None:
        """Somebody may have ended steps in these sessions: their versions tell, and many are asked for at once. Where
        something was stored a moment ago nobody had."""
        lately = asyncio.get_running_loop().time() - SAFETY_SECONDS / 4
        for session_id in ids:
            if any(step.open_at < lately for step in self._steps_in([session_id])):
                self._step_looks.spawn(self._ask_for_step(session_id))

    async def _ask_for_step(self, session_id: bytes) -> None:
        standing = await self._store.standings.ask(UUID(bytes=session_id))
        for step in list(self._steps.get(session_id, ())):
            if standing is not None:  # None: Postgres is away, and the step's own appends report that
                await step.look(standing.position)
