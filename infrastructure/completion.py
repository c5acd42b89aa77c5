"""Writing one step: what every writer of one needs, and `Completion` for handlers that call it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from turnlog.domain.commands import (
    AnyStepAppend,
    AppendFunctionCall,
    AppendReasoning,
    AppendRefusal,
    AppendText,
    AppendToolCall,
    AppendWholeToolCall,
    BeginCompletion,
)
from turnlog.domain.errors import StepClosedError, TurnInProgressError, TurnlogError
from turnlog.domain.events import (
    CompletionAbandoned,
    CompletionFailed,
    CompletionFinished,
    CompletionInterrupted,
    StepEnd,
    ToolCall,
)
from turnlog.domain.inputs import checked_optional_text, checked_range, checked_text
from turnlog.domain.state import Active, OpenStep
from turnlog.infrastructure.aggregate import Aggregate
from turnlog.infrastructure.clock import Clock, now
from turnlog.infrastructure.hub import Hub
from turnlog.infrastructure.lease import WriterLease
from turnlog.infrastructure.streams import as_object

if TYPE_CHECKING:
    from turnlog.infrastructure.store.leases import Lease
    from turnlog.infrastructure.store.store import EventStore
    from turnlog.infrastructure.store.writer import GroupWriter

logger = logging.getLogger("turnlog")

LEFT_EARLY = "closed early"
CANCELLED = "cancelled"
LOOK_AGAIN_SECONDS = 1.0
"""So often a takeover looks whether the other writer is alive."""


@dataclass(frozen=True, slots=True)
class StepWriter:
    """What writing a step needs."""

    aggregate: Aggregate
    authorise: Callable[[], Awaitable[None]]
    store: EventStore
    writer: GroupWriter
    hub: Hub
    clock: Clock
    lease: WriterLease
    max_bytes: int
    step_id: str

    async def begin(self, model: str | None, takeover: bool) -> None:
        """Opens the step. Raises SessionNotFoundError, and TurnInProgressError while another one is open and alive.

        A step whose writer's lease has run out is closed as abandoned. With `takeover` it is waited for until the
        lease runs out, or until its writer shows that it is alive by renewing it.
        """
        await self.authorise()
        rival = Rival(self.aggregate, self.lease, takeover)
        while (refusal := await self._open(model, rival)) is not None:
            await rival.judge(refusal)

    async def _open(self, model: str | None, rival: Rival) -> TurnInProgressError | None:
        lease, writer_id = self.lease, await self.lease.hold()
        begin = BeginCompletion(
            now(), self.step_id, model, lease.live, writer_id, lease.seconds, rival.gone, rival.waited_for
        )
        # Alive from here on: another completion may begin before this one is stored.
        self.lease.began(self.step_id, self.aggregate)
        try:
            if await self.aggregate.execute(begin) > 1:
                self.hub.steps_ended(self.aggregate.session_id)  # it took over
        except TurnInProgressError as refusal:
            self.lease.left(self.step_id)
            return refusal
        except BaseException as error:
            # It may be stored all the same: a caller that was cancelled here will not come to end the step.
            self.end(end_for(self.step_id, error))
            raise
        return None

    async def append(self, command: AnyStepAppend) -> None:
        """Appends to the step; returns when that is stored. Raises StepClosedError that says why it was ended."""
        if self.writer.is_full:
            await self.writer.room()
        try:
            await self.aggregate.submit(command)
        except StepClosedError as error:
            raise await self.closed_error() from error

    async def closed_error(self) -> StepClosedError:
        """What to raise for a step that has ended, with the reason that its end gives."""
        self.lease.left(self.step_id)
        return StepClosedError(self.step_id, reason_of(await self.found_end()))

    async def found_end(self) -> StepEnd | None:
        """How the step ended, if it did and Postgres says so."""
        try:
            await self.aggregate.flush()  # it may be decided, and still on its way
            return await self.store.find_end(self.aggregate.session_id, self.step_id)
        except TurnlogError:
            return None

    def end(self, end: StepEnd) -> asyncio.Future[int]:
        """Closes the step, at once; the future is done when that is stored."""
        return self.lease.end(self.aggregate, end)


class Rival:
    """Judges whether the step in the way of a new one is alive. `gone` are the writers that were found not to be, and
    `waited_for` is the step whose writer's lease had to run out."""

    def __init__(self, aggregate: Aggregate, lease: WriterLease, takeover: bool) -> None:
        self._aggregate = aggregate
        self._lease = lease
        self._takeover = takeover
        self._until: datetime | None = None
        self.waited_for: str | None = None
        self.gone: frozenset[str] = frozenset()

    async def judge(self, refusal: TurnInProgressError) -> None:
        """Returns when it is worth another try. Else raises the refusal, with all that is known of the writer."""
        if refusal.step_id in self._lease.live:
            raise TurnInProgressError(refusal.step_id, refusal.since, refusal.writer, self._lease.host, self._lease.pid)
        writers = self._writers() | {refusal.writer}
        alive = await self._lease.others(writers)
        self.gone |= writers - set(alive)
        rival = alive.get(refusal.writer)
        if rival is not None and await self._is_worth_waiting(refusal, rival):
            return
        if rival is not None:
            raise TurnInProgressError(
                refusal.step_id, refusal.since, rival.writer_id, rival.host, rival.pid, rival.expires_at
            )
        if self.waited_for is not None and not self._is_in_the_way(refusal):
            raise refusal  # it has finished, or somebody else has taken over

    def _is_in_the_way(self, refusal: TurnInProgressError) -> bool:
        return refusal.step_id == self.waited_for and refusal.step_id in self._open_steps()

    async def _is_worth_waiting(self, refusal: TurnInProgressError, rival: Lease) -> bool:
        """Waits for a while, if the lease is still the one that was there at first. False where it is not."""
        self._until = self._until or rival.expires_at
        self.waited_for = self.waited_for or refusal.step_id
        if not self._takeover or not self._is_in_the_way(refusal) or rival.expires_at > self._until:
            return False
        await asyncio.sleep(min(rival.seconds_left, LOOK_AGAIN_SECONDS))
        return True

    def _writers(self) -> set[str]:
        return {step.writer for step in self._open_steps().values()}

    def _open_steps(self) -> dict[str, OpenStep]:
        state = self._aggregate.state
        return state.open_steps if isinstance(state, Active) else {}


class Completion:
    """One step, written by hand::

        async with session.completion(model="m") as completion:
            await completion.text("Hel")
            await completion.finish("stop")

    Each call returns when its delta is durable. Leaving without `finish` records how it ended: cancelled or closed
    early is interrupted, an exception is failed. What was written stays. Any call after the step has ended raises
    StepClosedError.
    """

    def __init__(self, step: StepWriter, model: str | None, takeover: bool = False) -> None:
        self._step = step
        self._model = checked_optional_text(model, "model")
        self._takeover = takeover
        self._begun = self._ended = False

    @property
    def step_id(self) -> str:
        """The id of the step."""
        return self._step.step_id

    async def __aenter__(self) -> Self:
        if self._begun:
            raise StepClosedError(self.step_id)
        self._begun = True
        await self._step.begin(self._model, self._takeover)
        return self

    async def text(self, text: str) -> None:
        """Appends text to the answer."""
        step = self._step
        command = AppendText(step.clock.now(), step.step_id, checked_text(text, "text", step.max_bytes))
        # As `step.append`, without a coroutine more for each delta.
        if step.writer.is_full:
            await step.writer.room()
        try:
            await step.aggregate.submit(command)
        except StepClosedError as error:
            raise await step.closed_error() from error

    async def reasoning(self, text: str) -> None:
        """Appends text to the reasoning."""
        await self._step.append(AppendReasoning(now(), self.step_id, checked_text(text, "text", self._step.max_bytes)))

    async def refusal(self, text: str) -> None:
        """Appends text to the refusal."""
        await self._step.append(AppendRefusal(now(), self.step_id, checked_text(text, "text", self._step.max_bytes)))

    async def tool_call(self, id: str, name: str, arguments: str = "") -> None:  # noqa: A002 the field's name
        """Appends a whole call. The same call again changes nothing; another one under its id raises
        ToolCallConflictError."""
        call = ToolCall(
            id=checked_text(id, "id"),
            name=checked_text(name, "name"),
            arguments=checked_text(arguments, "arguments", self._step.max_bytes),
        )
        await self._step.append(AppendWholeToolCall(now(), self.step_id, call))

    async def tool_call_delta(
        self,
        index: int,
        *,
        id: str | None = None,  # noqa: A002 the field's name
        name: str | None = None,
        arguments: str | None = None,
    ) -> None:
        """Appends a fragment of the call at `index`; the first fragment of an index opens the call."""
        fragment = AppendToolCall(
            now(),
            self.step_id,
            checked_range(index, "index", 0, 10_000),
            checked_optional_text(id, "id") or "",
            checked_optional_text(name, "name") or "",
            checked_text(arguments or "", "arguments", self._step.max_bytes),
        )
        await self._step.append(fragment)

    async def function_call_delta(self, *, name: str | None = None, arguments: str | None = None) -> None:
        """Appends a fragment of the legacy `function_call`."""
        name = checked_optional_text(name, "name")
        arguments = checked_optional_text(arguments, "arguments", self._step.max_bytes)
        await self._step.append(AppendFunctionCall(now(), self.step_id, name or "", arguments or ""))

    async def finish(self, finish_reason: str | None = "stop", *, usage: Any = None, model: str | None = None) -> None:
        """Ends the step as finished. `usage` is the provider's usage object, kept verbatim."""
        finished = CompletionFinished(
            at=now(),
            step_id=self.step_id,
            finish_reason=checked_optional_text(finish_reason, "finish_reason"),
            usage=as_object(usage),
            model=checked_optional_text(model, "model"),
        )
        if self._ended:
            raise StepClosedError(self.step_id)
        self._ended = True
        try:
            await self._step.end(finished)
        except StepClosedError as error:
            raise await self._step.closed_error() from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ended:
            return
        self._ended = True
        if isinstance(error, StepClosedError) and error.step_id == self.step_id:
            return  # somebody else has ended it
        ended = self._step.end(end_for(self.step_id, error))
        try:
            await ended
        except TurnlogError as failure:
            if error is None and not isinstance(failure, StepClosedError):
                raise
            logger.warning("the end of step %s was not recorded: %s", self.step_id, failure)


def end_for(step_id: str, error: BaseException | None) -> StepEnd:
    if isinstance(error, Exception):
        return CompletionFailed(at=now(), step_id=step_id, error=said(error))
    reason = LEFT_EARLY if error is None or isinstance(error, GeneratorExit) else CANCELLED
    return CompletionInterrupted(at=now(), step_id=step_id, reason=reason)


def said(error: BaseException) -> str:
    """An exception, as it is recorded."""
    return f"{type(error).__name__}: {error}"


def reason_of(end: StepEnd | None) -> str | None:
    """Why a step was cancelled or abandoned."""
    return end.reason if isinstance(end, CompletionInterrupted | CompletionAbandoned) else None
