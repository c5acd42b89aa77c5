"""Writing one step: `Completion` for handlers that call it, `Recording` around a provider's stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

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
    CompletionFailed,
    CompletionFinished,
    CompletionInterrupted,
    StepEnd,
    ToolCall,
)
from turnlog.domain.inputs import checked_optional_text, checked_range, checked_text
from turnlog.domain.state import Active
from turnlog.infrastructure.aggregate import Aggregate
from turnlog.infrastructure.clock import Clock, now
from turnlog.infrastructure.lease import WriterLease
from turnlog.infrastructure.streams import ChunkReader, as_object

if TYPE_CHECKING:
    from turnlog.infrastructure.store.writer import GroupWriter

logger = logging.getLogger("turnlog")

Chunk = TypeVar("Chunk")

LEFT_EARLY = "closed early"
CANCELLED = "cancelled"
LOOK_AGAIN_SECONDS = 1.0
"""So often a takeover looks whether the other writer is alive."""


@dataclass(frozen=True, slots=True)
class StepWriter:
    """What writing a step needs."""

    aggregate: Aggregate
    authorise: Callable[[], Awaitable[None]]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    writer: GroupWriter
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
        while (refusal := await self._open(model, rival.gone)) is not None:
            await rival.judge(refusal)

    async def _open(self, model: str | None, gone: frozenset[str]) -> TurnInProgressError | None:
        writer_id = await self.lease.hold()
        begin = BeginCompletion(now(), self.step_id, model, self.lease.live, writer_id, self.lease.seconds, gone)
        # Alive from here on: another completion may begin before this one is stored.
        self.lease.began(self.step_id, self.aggregate)
        try:
            await self.aggregate.execute(begin)
        except TurnInProgressError as refusal:
            self.lease.left(self.step_id)
            return refusal
        except BaseException as error:
            # It may be stored all the same: a caller that was cancelled here will not come to end the step.
            self.end(end_for(self.step_id, error))
            raise
        return None

    async def append(self, *commands: AnyStepAppend) -> None:
        """Appends to the step; returns when that is stored."""
        if not commands:
            return
        if self.writer.is_full:
            await self.writer.room()
        await self.aggregate.submit(*commands)

    def end(self, end: StepEnd) -> asyncio.Future[int]:
        """Closes the step, at once; the future is done when that is stored."""
        return self.lease.end(self.aggregate, end)


class Rival:
    """Judges whether the step in the way of a new one is alive. `gone` are the writers that were found not to be."""

    def __init__(self, aggregate: Aggregate, lease: WriterLease, takeover: bool) -> None:
        self._aggregate = aggregate
        self._lease = lease
        self._takeover = takeover
        self._waited_for: dict[str, datetime] = {}
        self.gone: frozenset[str] = frozenset()

    async def judge(self, refusal: TurnInProgressError) -> None:
        """Returns when it is worth another try. Else raises the refusal, with all that is known of the writer."""
        if refusal.step_id in self._lease.live:
            raise TurnInProgressError(refusal.step_id, refusal.since, refusal.writer, self._lease.host, self._lease.pid)
        writers = self._writers() | {refusal.writer}
        alive = await self._lease.others(writers)
        self.gone |= writers - set(alive)
        if (rival := alive.get(refusal.writer)) is not None:
            until = self._waited_for.setdefault(rival.writer_id, rival.expires_at)
            if not self._takeover or rival.expires_at > until:
                raise TurnInProgressError(
                    refusal.step_id, refusal.since, rival.writer_id, rival.host, rival.pid, rival.expires_at
                )
            await asyncio.sleep(min(rival.seconds_left, LOOK_AGAIN_SECONDS))

    def _writers(self) -> set[str]:
        state = self._aggregate.state
        return {step.writer for step in state.open_steps.values()} if isinstance(state, Active) else set()


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
        if step.writer.is_full:
            await step.writer.room()
        await step.aggregate.submit(command)

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
        await self._step.end(finished)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ended:
            return
        self._ended = True
        ended = self._step.end(end_for(self.step_id, error))
        try:
            await asyncio.shield(ended)
        except TurnlogError as failure:
            if error is None and not isinstance(failure, StepClosedError):
                raise
            logger.warning("the end of step %s was not recorded: %s", self.step_id, failure)


def end_for(step_id: str, error: BaseException | None) -> StepEnd:
    if isinstance(error, Exception):
        return CompletionFailed(at=now(), step_id=step_id, error=_said(error))
    reason = LEFT_EARLY if error is None or isinstance(error, GeneratorExit) else CANCELLED
    return CompletionInterrupted(at=now(), step_id=step_id, reason=reason)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


class Recording(Generic[Chunk]):
    """An async iterator over a provider's stream: each chunk as it came, once its events are durable.

    At the natural end of the stream the step is finished. When the consumer stops early (break, `aclose`,
    cancellation) it is interrupted, unless the provider had said how it finished; when the provider raises it is
    failed, and the exception goes on to the consumer. The partial stays in each case, and is what was shown: no
    chunk is recorded before the consumer asks for it. (What the provider sends meanwhile waits in the socket.)
    """

    def __init__(
        self, step: StepWriter, stream: AsyncIterator[Chunk], model: str | None, takeover: bool = False
    ) -> None:
        self._step = step
        self._model = checked_optional_text(model, "model")
        self._takeover = takeover
        self._stream = stream
        self._chunks = aiter(stream)
        self._reader = ChunkReader(step.step_id, step.clock.now)
        self._situation: Literal["new", "open", "ended"] = "new"

    @property
    def step_id(self) -> str:
        """The id of the step."""
        return self._step.step_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        if self._situation == "ended":
            raise StopAsyncIteration
        try:
            if self._situation == "new":
                await self._step.begin(self._model, self._takeover)
                self._situation = "open"
            chunk = await anext(self._chunks)
            await self._step.append(*self._reader.read(chunk))
        except StopAsyncIteration:
            self._situation = "ended"
            await self._step.end(self._finished())
            raise
        except BaseException as error:
            self._end(error)
            await _close(self._stream)
            raise
        return chunk

    async def aclose(self) -> None:
        """Ends the step if it is still open, closes the provider's stream, and waits until that is stored."""
        self._end(None)
        await _close(self._stream)
        await self._step.aggregate.flush()

    def __del__(self) -> None:
        # The consumer broke out of the loop: the end is handed over here, for nobody else will do it.
        if self._situation != "open":
            return
        with suppress(RuntimeError):  # no loop runs any more: the step will be found abandoned
            asyncio.get_running_loop()
            self._end(None)
            self._step.spawn(_close(self._stream))

    def _end(self, error: BaseException | None) -> None:
        """Ends the step early. Only hands the end over: the caller may be on its way out."""
        was_open, self._situation = self._situation == "open", "ended"
        if was_open and not isinstance(error, StepClosedError):
            self._step.end(self._early_end(error))

    def _finished(self) -> StepEnd:
        if self._reader.error is not None:
            return CompletionFailed(at=now(), error=self._reader.error, **self._reported())
        return CompletionFinished(at=now(), finish_reason=self._reader.finish_reason, **self._reported())

    def _early_end(self, error: BaseException | None) -> StepEnd:
        if isinstance(error, Exception):
            return CompletionFailed(at=now(), error=_said(error), **self._reported())
        if self._reader.finish_reason is not None:
            return self._finished()
        reason = CANCELLED if isinstance(error, asyncio.CancelledError) else LEFT_EARLY
        return CompletionInterrupted(at=now(), reason=reason, **self._reported())

    def _reported(self) -> dict[str, Any]:
        return {
            "step_id": self.step_id,
            "model": self._reader.model,
            "response_id": self._reader.response_id,
            "usage": self._reader.usage,
        }


async def _close(stream: Any) -> None:
    """Closes a provider's stream, so that its tokens stop costing; what that raises matters to nobody."""
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
    if close is None:
        return
    with suppress(Exception):
        closing = close()
        if hasattr(closing, "__await__"):
            await closing
