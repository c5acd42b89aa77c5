"""The owner of a turn: one run of it, in this process.

While a run is held, its lease is that of the writer, as for steps. Whoever has lost it can append nothing more to the
turn: the run is the fencing token. When somebody else has ended a run, as by a stop, that is noticed within a second,
and the task that holds it is cancelled.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from math import inf
from types import TracebackType
from typing import Self
from uuid import UUID

from turnlog.domain.commands import AddMessage, BeginTurn, Command, EndTurn, StartTool
from turnlog.domain.errors import StoreError, TurnClosedError, TurnInProgressError, TurnlogError
from turnlog.domain.events import TurnEnd
from turnlog.domain.state import Active, Known
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.append.failures import said
from turnlog.infrastructure.append.takeover import Takeover
from turnlog.infrastructure.append.writer_lease import WriterLease
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.follow.session_watcher import SessionWatcher
from turnlog.infrastructure.ids import new_token
from turnlog.infrastructure.observer import Observer, TurnHeld
from turnlog.projections.step import StepToolCall

LEFT = "its owner was cancelled"
LAST_FAILED = "its last answer failed"

_owners: ContextVar[tuple[TurnOwner, ...]] = ContextVar("turnlog_owners", default=())


def owner_of(aggregate: Aggregate) -> TurnOwner | None:
    """The owner in whose block the running task is, or was started. Not one that has ended its run: what it has left
    behind, such as a tool's work elsewhere, goes on as anybody else would."""
    owners = (owner for owner in reversed(_owners.get()) if owner.aggregate is aggregate and not owner.is_ended)
    return next(owners, None)


def owner_inside(run: str | None) -> TurnOwner | None:
    """The owner of this run, if the running task is in its block, or was started there, and it has the turn in hand."""
    return next((owner for owner in _owners.get() if owner.run == run and owner.is_held), None)


class TurnOwner:
    """One run of a turn. `turn_id` is known once it has begun."""

    def __init__(self, aggregate: Aggregate, lease: WriterLease, watcher: SessionWatcher, observer: Observer) -> None:
        self.aggregate = aggregate
        self.session_id: UUID = aggregate.session_id
        self.run = new_token()
        self.turn_id = ""
        self._lease = lease
        self._watcher = watcher
        self.observer = observer
        self._context = ExitStack()
        self._task: asyncio.Task[object] | None = None
        self._before: tuple[TurnOwner, ...] = ()
        self._cancels = 0
        self.is_held = False
        self.is_ended = self.is_lost = self._is_cancelled_here = False

    async def begin(
        self,
        turn_id: str | None = None,
        *,
        message: AddMessage | None = None,
        takeover: bool = False,
        anyway: bool = False,
    ) -> int:
        """Takes the turn in hand: `turn_id`, or the one whose turn it is, together with a message. Returns the number
        of events that it took: 0 if the message is known. Afterwards `is_held` says whether it has the turn: a message
        that `joins` may have gone to the turn that somebody else has in hand.

        Raises TurnInProgressError while another turn or step is in hand and alive, TurnClosedError if there is nothing
        to do, or not for this turn, and StoreError.
        """
        attempt = Takeover(self.aggregate, self._lease, takeover)
        while True:
            try:
                return await self._begin(turn_id, message, attempt, anyway)
            except TurnInProgressError as refusal:
                await attempt.judge(refusal)

    async def _begin(self, turn_id: str | None, message: AddMessage | None, attempt: Takeover, anyway: bool) -> int:
        lease, writer_id = self._lease, await self._lease.hold()
        begin = BeginTurn(
            now(), turn_id, self.run, writer_id, lease.seconds, live=lease.live, gone=attempt.gone, anyway=anyway
        )
        command: Command = begin if message is None else message.beginning(begin)
        lease.began(self.run, self.aggregate, self._ending)
        try:
            began = await self.aggregate.execute(command)
        except BaseException as error:
            if isinstance(error, TurnlogError) and not isinstance(error, StoreError):
                lease.left(self.run)
                raise
            # It may be stored all the same, and nobody here will go on with it.
            self.end("abandoned", LEFT)
            raise
        if began > 1:
            self._watcher.steps_ended(self.session_id)  # it took over, or has stopped another
        state = self.aggregate.state
        turn = state.turn if isinstance(state, Active) else None
        if turn is None or turn.run != self.run or turn.status is not None:
            self._lease.left(self.run)
            return began
        self.turn_id = turn.turn_id
        self.is_held = True
        self._watcher.watch(self)
        self.observer.turn_begins(TurnHeld(session_id=self.session_id, turn_id=self.turn_id, run=self.run))
        return began

    def _ending(self, reason: str, _lost: bool) -> Command:
        return EndTurn(now(), self.run, "abandoned", reason)

    def end(self, status: TurnEnd, reason: str = "") -> asyncio.Future[int]:
        """Ends the run at once. The future is done when the end is stored; it raises TurnClosedError and StoreError."""
        self.let_go(is_ended=True)
        return self._lease.end(self.run, self.aggregate, EndTurn(now(), self.run, status, reason))

    async def end_if(self, known: Known, status: TurnEnd) -> None:
        """Ends the run, if the talk still stands as it was known. Raises NewsError if it does not, TurnClosedError and
        StoreError."""
        await self.aggregate.execute(EndTurn(now(), self.run, status, known=known))
        self.let_go(is_ended=True)

    def let_go(self, *, is_ended: bool = False) -> None:
        """The run is over for this process. `is_ended`: this process has ended it, and it was not lost."""
        self.is_ended = self.is_ended or is_ended
        if self.is_held:
            self.is_held = False
            self._watcher.unwatch(self)
        self._lease.left(self.run)

    async def start_tool(self, step_id: str, call: StepToolCall) -> None:
        """Notes that the tool of this call begins to run. Raises TurnClosedError and StoreError."""
        await self.aggregate.execute(StartTool(now(), self.run, step_id, call.index))
        self.observer.tool_begins(self.run, step_id, call)

    @property
    def has_news(self) -> bool:
        """Whether there is something that no request has had yet."""
        state = self.aggregate.state
        return isinstance(state, Active) and state.unread > 0

    # When somebody else has ended it

    @property
    def open_at(self) -> float:
        """See StepWatch."""
        return self.aggregate.stored_at if self._is_in_hand() else -inf

    def _is_in_hand(self) -> bool:
        state = self.aggregate.state
        turn = state.in_hand if isinstance(state, Active) else None
        return turn is not None and turn.run == self.run

    async def look(self, version: int | None = None) -> None:
        """See StepWatch."""
        with suppress(Exception):  # the owner's own appends meet the same error, and report it
            if version is None or version > self.aggregate.version:
                await self.aggregate.refresh()
            if not self._is_in_hand():
                self._lose()

    def _lose(self) -> None:
        if not self.is_held:
            return
        self.is_lost = True
        self.let_go()
        self.observer.turn_lost(self.run)
        if self._task is not None and self._task is not asyncio.current_task():
            self._is_cancelled_here = True
            self._task.cancel()

    # Around a block

    def __enter__(self) -> Self:
        """From here to `__exit__` this task, and the tasks that it starts, act as the owner, and the task is cancelled
        when somebody else ends the run."""
        self._task = asyncio.current_task()
        self._cancels = self._task.cancelling() if self._task is not None else 0
        self._before = _owners.get()
        _owners.set((*self._before, self))
        self._context.enter_context(self.observer.inside(self.run))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._context.close()
        _owners.set(self._before)
        if task is None or not self._is_cancelled_here:
            return
        self._is_cancelled_here = False
        if task.uncancel() <= self._cancels and isinstance(error, asyncio.CancelledError):
            raise TurnClosedError(self.turn_id, "was ended by somebody else") from error

    def end_of(self, error: BaseException | None) -> tuple[TurnEnd, str]:
        """How a run ends that was left with this error, or without one: if the last answer has failed, it has not
        finished either."""
        state = self.aggregate.state
        if error is None and isinstance(state, Active):
            latest = state.latest
            if latest is not None and latest.turn_id == self.turn_id and latest.status == "failed":
                return "failed", LAST_FAILED
            return ("waiting" if state.is_waiting else "finished"), ""
        if isinstance(error, Exception):
            return "failed", said(error)
        return "abandoned", LEFT
