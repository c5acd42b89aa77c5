"""The parts of an open log, which all its sessions share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from turnlog.domain.commands import Command
from turnlog.domain.errors import LogClosedError, SessionExistsError
from turnlog.domain.inputs import checked_session_id
from turnlog.infrastructure.answer.answer import Answer
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.append.step_io import StepIO, StepPlace
from turnlog.infrastructure.append.stream_recorder import StreamRecorder
from turnlog.infrastructure.append.turn_owner import TurnOwner
from turnlog.infrastructure.append.writer_lease import WriterLease
from turnlog.infrastructure.clock import Clock
from turnlog.infrastructure.follow.session_watcher import SessionWatcher
from turnlog.infrastructure.ids import new_id, new_session_id
from turnlog.infrastructure.observer import Observer
from turnlog.infrastructure.process import Home
from turnlog.infrastructure.read.prompts import Prompts
from turnlog.infrastructure.read.view_parts import ViewParts
from turnlog.infrastructure.read.views import Views
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.tasks import Background

if TYPE_CHECKING:
    from turnlog.infrastructure.store.group_commit import GroupCommit
    from turnlog.infrastructure.store.store import EventStore

Chunk = TypeVar("Chunk")


@dataclass(eq=False, slots=True, kw_only=True)
class LogParts:
    """The parts of an open log, and the aggregates of the sessions that are in use in this process."""

    home: Home
    settings: Settings
    store: EventStore
    group_commit: GroupCommit
    views: Views
    view_parts: ViewParts
    prompts: Prompts
    watcher: SessionWatcher
    background: Background
    lease: WriterLease
    observer: Observer
    clock: Clock = field(default_factory=Clock)
    stream_recorders: set[StreamRecorder[Any]] = field(default_factory=set)
    answers: set[Answer] = field(default_factory=set)
    is_closed: bool = False
    _aggregates: WeakValueDictionary[UUID, Aggregate] = field(default_factory=WeakValueDictionary)

    def check_open(self) -> None:
        """Raises LogClosedError when the log is closed, WrongProcessError in a process that was forked from the one
        that opened it, and WrongLoopError on another event loop."""
        self.home.check()
        if self.is_closed:
            raise LogClosedError("the log was closed")

    def aggregate(self, session_id: UUID) -> Aggregate:
        """The session's aggregate: one object for all its users in this process. Raises LogClosedError."""
        self.check_open()
        aggregate = self._aggregates.get(session_id)
        if aggregate is None:
            aggregate = self._aggregates[session_id] = Aggregate(
                session_id, self.store.accepted, self.group_commit, self.views.states
            )
        return aggregate

    async def begun(self, session_id: UUID | str | None, user_id: str | None) -> Aggregate:
        """The aggregate of a session that is to be started, or that was started for this user with the same id before.
        Raises SessionExistsError if the id is taken by another session, InvalidInputError, StoreError and
        LogClosedError."""
        if session_id is None:
            aggregate = self.aggregate(new_session_id())
            aggregate.begin_empty()
            return aggregate
        aggregate = self.aggregate(checked_session_id(session_id))
        standing = await self.store.standing(aggregate.session_id)
        # Whose it is is asked first, so that nothing of somebody else's session is read.
        if standing.position and not (standing.exists and standing.user_id == user_id):
            raise SessionExistsError(f"session_id: {aggregate.session_id} is taken")
        return aggregate

    async def forget(self, session_id: UUID) -> None:
        """Drops all that is derived from the session's events, but for projections: here, in Redis and in Postgres.
        Raises StoreError."""
        self.prompts.forget(session_id)
        await self.views.forget(session_id)

    def turn_owner(self, aggregate: Aggregate) -> TurnOwner:
        """What takes a turn of the session in hand."""
        return TurnOwner(aggregate, self.lease, self.watcher, self.observer)

    def step_io(
        self,
        aggregate: Aggregate,
        authorise: Callable[[], Awaitable[None]],
        place: StepPlace,
        before: tuple[Command, ...] = (),
    ) -> StepIO:
        """What writes a new step of the session. `authorise` is awaited before the step is opened, and `before` is
        carried out in the append that opens it."""
        return StepIO(
            home=self.home,
            aggregate=aggregate,
            authorise=authorise,
            store=self.store,
            group_commit=self.group_commit,
            watcher=self.watcher,
            clock=self.clock,
            lease=self.lease,
            max_bytes=self.settings.max_message_bytes,
            step_id=new_id(),
            observer=self.observer,
            place=place,
            before=before,
        )

    def recorder(
        self,
        step: StepIO,
        stream: AsyncIterator[Chunk] | Awaitable[AsyncIterator[Chunk]],
        model: str | None,
        *,
        takeover: bool,
        detached: bool,
    ) -> StreamRecorder[Chunk]:
        """What records a provider's stream as this step. Closing the log stops it."""
        limit = self.settings.read_ahead_chunks
        return StreamRecorder(step, stream, model, limit, self.stream_recorders, takeover=takeover, detached=detached)
