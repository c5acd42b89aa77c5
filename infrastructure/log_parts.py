"""What all sessions of an open log share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID
from weakref import WeakValueDictionary

from turnlog.domain.errors import LogClosedError
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.append.step_io import StepIO
from turnlog.infrastructure.append.stream_recorder import StreamRecorder
from turnlog.infrastructure.append.writer_lease import WriterLease
from turnlog.infrastructure.background import Background
from turnlog.infrastructure.cache import Cache
from turnlog.infrastructure.clock import Clock
from turnlog.infrastructure.follow.session_watcher import SessionWatcher
from turnlog.infrastructure.ids import new_id
from turnlog.infrastructure.read.prompts import Prompts
from turnlog.infrastructure.read.views import Views
from turnlog.infrastructure.settings import Settings

if TYPE_CHECKING:
    from turnlog.infrastructure.store.group_commit import GroupCommit
    from turnlog.infrastructure.store.store import EventStore


@dataclass(eq=False, slots=True, kw_only=True)
class LogParts:
    """The parts of an open log, and its sessions as far as somebody here uses them."""

    settings: Settings
    store: EventStore
    group_commit: GroupCommit
    cache: Cache
    views: Views
    prompts: Prompts
    watcher: SessionWatcher
    background: Background
    lease: WriterLease
    clock: Clock = field(default_factory=Clock)
    stream_recorders: set[StreamRecorder[Any]] = field(default_factory=set)
    is_closed: bool = False
    _aggregates: WeakValueDictionary[UUID, Aggregate] = field(default_factory=WeakValueDictionary)

    def check_open(self) -> None:
        """Raises LogClosedError once the log was closed."""
        if self.is_closed:
            raise LogClosedError("the log was closed")

    def aggregate(self, session_id: UUID) -> Aggregate:
        """The session in this process, the same one for all who use it. Raises LogClosedError."""
        self.check_open()
        aggregate = self._aggregates.get(session_id)
        if aggregate is None:
            aggregate = self._aggregates[session_id] = Aggregate(
                session_id, self.store.accepted, self.group_commit, self.views
            )
        return aggregate

    def step_writer(self, aggregate: Aggregate, authorise: Callable[[], Awaitable[None]]) -> StepIO:
        """What writes a new step of the session, once it is authorised."""
        return StepIO(
            aggregate=aggregate,
            authorise=authorise,
            store=self.store,
            group_commit=self.group_commit,
            watcher=self.watcher,
            clock=self.clock,
            lease=self.lease,
            max_bytes=self.settings.max_message_bytes,
            step_id=new_id(),
        )
