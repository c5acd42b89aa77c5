"""Opening a step, appending to it and ending it: what completions and recordings share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turnlog.domain.commands import BeginCompletion, Command, EndCompletion
from turnlog.domain.decide_turn import NewsError
from turnlog.domain.errors import (
    InvalidInputError,
    StepClosedError,
    ToolResultError,
    TurnClosedError,
    TurnInProgressError,
    TurnlogError,
)
from turnlog.domain.events import CompletionAbandoned, CompletionFailed, CompletionInterrupted, StepEnd
from turnlog.domain.state import Known
from turnlog.domain.step_appends import AnyStepAppend
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.append.failures import failure_of, said
from turnlog.infrastructure.append.takeover import Takeover
from turnlog.infrastructure.append.writer_lease import WriterLease
from turnlog.infrastructure.clock import Clock, now
from turnlog.infrastructure.follow.session_watcher import SessionWatcher
from turnlog.infrastructure.observer import Observer, StepAsked
from turnlog.infrastructure.process import Home

if TYPE_CHECKING:
    from turnlog.infrastructure.store.group_commit import GroupCommit
    from turnlog.infrastructure.store.store import EventStore

LEFT_EARLY = "closed early"
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class StepPlace:
    """Where a step belongs: to the `run` of a turn, with a prompt made of what was `known`. `continues`: it goes on
    with the step that broke off just before. See BeginCompletion."""

    run: str = ""
    known: Known | None = None
    continues: bool = False


@dataclass(frozen=True, slots=True)
class StepIO:
    """One step, and what is needed to write it. `authorise` raises unless the caller may use the session; `max_bytes`
    is the largest size of one text, as UTF-8; `before` is carried out in the append that opens the step."""

    home: Home
    aggregate: Aggregate
    authorise: Callable[[], Awaitable[None]]
    store: EventStore
    group_commit: GroupCommit
    watcher: SessionWatcher
    clock: Clock
    lease: WriterLease
    max_bytes: int
    step_id: str
    observer: Observer
    place: StepPlace = StepPlace()
    before: tuple[Command, ...] = ()

    async def begin(self, model: str | None, takeover: bool) -> None:
        """Opens the step. Raises SessionNotFoundError, and TurnInProgressError while another step is open and alive.

        An open step whose writer's lease has run out is closed as abandoned. With `takeover` this waits for the lease
        of the writer to run out, and raises only if the writer renews it. Of several attempts that find the same step
        in their way one begins.
        """
        await self._begin(model, takeover, ())

    async def begin_and_end(self, model: str | None, takeover: bool, commands: Sequence[Command]) -> None:
        """Opens the step, carries out these commands and with them its end, all in one append. Raises as `begin`."""
        try:
            await self._begin(model, takeover, commands)
        finally:
            self.lease.left(self.step_id)

    async def _begin(self, model: str | None, takeover: bool, commands: Sequence[Command]) -> None:
        await self.authorise()
        attempt = Takeover(self.aggregate, self.lease, takeover)
        while (refusal := await self._open(model, attempt, commands)) is not None:
            await attempt.judge(refusal)

    async def _open(
        self, model: str | None, takeover: Takeover, commands: Sequence[Command]
    ) -> TurnInProgressError | None:
        lease, writer_id = self.lease, await self.lease.hold()
        begin = BeginCompletion(
            now(),
            self.step_id,
            model,
            lease.live,
            writer_id,
            lease.seconds,
            takeover.gone,
            takeover.over,
            run=self.place.run,
            known=self.place.known,
            continues=self.place.continues,
        )
        # It counts as alive from here on: another completion may begin before this one is stored.
        self.lease.began(self.step_id, self.aggregate, self._ending)
        self.observer.step_begins(
            StepAsked(session_id=self.aggregate.session_id, step_id=self.step_id, model=model, run=self.place.run)
        )
        try:
            if await self.aggregate.execute(*self.before, begin, *commands) > 1:
                self.watcher.steps_ended(self.aggregate.session_id)  # it may have taken over
        except TurnInProgressError as refusal:
            self._refused()
            return refusal
        except (TurnClosedError, NewsError, ToolResultError, InvalidInputError):
            self._refused()
            raise
        except BaseException as error:
            # The step may be stored all the same, and a caller that was cancelled will not end it.
            self.end(self.end_for(error))
            raise
        return None

    def _refused(self) -> None:
        self.lease.left(self.step_id)
        self.observer.step_refused(self.step_id)

    async def append(self, *commands: AnyStepAppend | EndCompletion) -> None:
        """Appends to the step, all at once, and returns when that is stored. Raises StepClosedError, with the reason of
        the end."""
        self.home.check()
        if self.group_commit.is_full:
            await self.group_commit.room()
        try:
            await self.aggregate.submit(*commands)
        except StepClosedError as error:
            raise await self.closed_error() from error

    async def closed_error(self) -> StepClosedError:
        """The error for a step that has ended, with the reason of its end."""
        self.lease.left(self.step_id)
        return StepClosedError(self.step_id, reason_of(await self.found_end()))

    async def found_end(self) -> StepEnd | None:
        """The event that ended the step. None if there is none, or if Postgres does not answer."""
        try:
            await self.aggregate.flush()  # the end may be decided and not yet stored
            end = await self.store.events.find_end(self.aggregate.session_id, self.step_id)
        except TurnlogError:
            end = None
        self.observer.step_ended(self.step_id, end)
        return end

    def end(self, end: StepEnd) -> asyncio.Future[int]:
        """Ends the step at once. The future is done when the end is stored."""
        return self.lease.end(self.step_id, self.aggregate, EndCompletion(end))

    def end_later(self, end: StepEnd) -> None:
        """What ends the step if the end that is on its way is not stored."""
        self.lease.end_later(self.step_id, EndCompletion(end))

    def end_for(self, error: BaseException | None) -> StepEnd:
        """The end of a step that was left with this error, or without one."""
        if isinstance(error, Exception):
            return CompletionFailed(at=now(), step_id=self.step_id, error=said(error), failure=failure_of(error))
        return self.broken_off(LEFT_EARLY if error is None or isinstance(error, GeneratorExit) else CANCELLED)

    def broken_off(self, reason: str, **reported: Any) -> StepEnd:
        """The end of a step that this side breaks off. A turn with an owner is still to be answered then, and its step
        was abandoned; unless the owner has heard enough."""
        is_owned = bool(self.place.run) and reason != LEFT_EARLY
        kind = CompletionAbandoned if is_owned else CompletionInterrupted
        return kind(at=now(), step_id=self.step_id, reason=reason, **reported)

    def _ending(self, reason: str, lost: bool) -> EndCompletion:
        lost_end = CompletionAbandoned(at=now(), step_id=self.step_id, reason=reason)
        return EndCompletion(lost_end if lost else self.broken_off(reason))


def reason_of(end: StepEnd | None) -> str | None:
    """Why a step was interrupted or abandoned; None for other ends."""
    return end.reason if isinstance(end, CompletionInterrupted | CompletionAbandoned) else None
