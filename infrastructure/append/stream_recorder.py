"""Reading a provider's stream and recording it as one step, beside whoever is shown its chunks.

A recorder reads ahead, so that the events of several chunks share a commit. How far it is ahead grows with what was
shown: it is never more than one chunk in `SHARE`, nor more than a limit. So a consumer that leaves early leaves little
in the log that it was not shown, and one that goes on is soon at full speed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Generic, TypeVar
from uuid import UUID

from turnlog.domain.errors import LogClosedError, SessionNotFoundError, StepClosedError
from turnlog.domain.events import CompletionFailed, CompletionFinished, CompletionInterrupted, StepEnd
from turnlog.domain.inputs import checked_optional_text
from turnlog.domain.state import Active
from turnlog.infrastructure.append.chunk_reader import ChunkReader
from turnlog.infrastructure.append.step_io import CANCELLED, LEFT_EARLY, StepIO, said
from turnlog.infrastructure.append.writer_lease import LOG_CLOSED
from turnlog.infrastructure.clock import now

logger = logging.getLogger("turnlog")

Chunk = TypeVar("Chunk")

CLOSING_SECONDS = 5.0
"""So long a provider's stream may take to close."""
SHARE = 16


class StreamRecorder(Generic[Chunk]):
    """Reads a stream to its end, or until it is stopped, and records it.

    It ends in one of three ways: by itself, at the end of the stream or with an exception; by `stop`, from this side;
    or because somebody else has ended the step. In each case the provider's stream is closed, and what is durable
    can still be taken. Detached, it neither waits for a consumer nor ends with one.
    """

    def __init__(
        self,
        step: StepIO,
        stream: AsyncIterator[Chunk],
        model: str | None,
        limit: int,
        stream_recorders: set[StreamRecorder[Any]],
        *,
        takeover: bool,
        detached: bool,
    ) -> None:
        self.step = step
        self.session_id: UUID = step.aggregate.session_id
        self.has_consumer = True
        self.is_detached = detached
        self._model = checked_optional_text(model, "model")
        self._takeover = takeover
        self._stream = stream
        self._chunks = aiter(stream)
        self._limit = limit
        self._pumps = stream_recorders
        self._reader = ChunkReader(step.step_id, step.clock.now)
        self._task: asyncio.Task[None] | None = None
        self._has_begun = self._is_open = self._is_over = self._is_lost = self._is_asked = False
        self._is_running = False
        self._error: BaseException | None = None
        self._queue: deque[tuple[Chunk, asyncio.Future[int] | None]] = deque()
        self._shown = 0
        self._changed: asyncio.Future[None] | None = None  # for the consumer
        self._wanted: asyncio.Future[None] | None = None  # for the recorder

    # For the consumer

    def start(self) -> None:
        """Opens the step and begins to read."""
        if self._task is None and not self._is_over:
            self._task = asyncio.create_task(self._run())
            self._pumps.add(self)
            self._task.add_done_callback(lambda _: self._pumps.discard(self))

    async def next(self) -> Chunk:
        """The next chunk, once it is durable. Raises StopAsyncIteration, and what ended the stream before its end."""
        self.start()
        self._is_asked = True
        _wake(self._wanted)
        try:
            while not self._has_next():
                if not self.has_consumer:
                    raise StopAsyncIteration
                if not self._queue and (self._task is None or self._task.done()):
                    raise self._outcome()
                await self._change()
            self._shown += 1
            return self._queue.popleft()[0]
        finally:
            self._is_asked = False

    async def begun(self) -> None:
        """Waits until the step is open. Raises what kept it from being."""
        while not self._has_begun and self._task is not None and not self._task.done():
            await self._change()
        if not self._has_begun:
            raise self._outcome()

    def _has_next(self) -> bool:
        stored = self._queue[0][1] if self._queue else None
        if stored is not None and stored.done() and (stored.cancelled() or stored.exception()):
            self._queue.clear()  # and so is all that was decided on top of it
        return bool(self._queue) and (stored is None or stored.done())

    async def _change(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    async def over(self) -> None:
        """Waits until the provider's stream is closed."""
        if self._task is None:
            await _close(self._stream)
        else:
            await asyncio.wait([self._task])

    def stop(self, error: BaseException | None = None, reason: str | None = None) -> None:
        """Ends the step, at once, and the reading. Its end is only handed over: the caller may be on its way out."""
        if self._is_over:
            return
        self._is_over = True
        if self._is_open:
            self._ended(self._early_end(error, reason))
        if isinstance(error, Exception):
            self._error = error
        self._cancel()

    def leave(self) -> None:
        """The consumer has gone."""
        self.has_consumer = False
        self._queue.clear()
        _wake(self._changed)
        if self.is_detached:
            _wake(self._wanted)
        else:
            self.stop()

    # Somebody else has ended the step

    async def look(self, version: int | None = None) -> None:
        """See StepWatch."""
        aggregate = self.step.aggregate
        with suppress(Exception):  # its appends will say it
            if version is None or version > aggregate.version:
                await aggregate.refresh()
            state = aggregate.state
            if self._is_open and not (isinstance(state, Active) and self.step.step_id in state.open_steps):
                self._lose()

    def _lose(self) -> None:
        if self._is_over:
            return
        self._is_over = self._is_lost = True
        self._forget()
        self._cancel()

    async def _why_lost(self) -> Exception | None:
        if not isinstance(self.step.aggregate.state, Active):
            return SessionNotFoundError(self.session_id)
        end = await self.step.found_end()
        # Whoever cancels wants the answer to end here. A step that was taken over is news to its writer.
        return None if isinstance(end, CompletionInterrupted) else await self.step.closed_error()

    # The recorder

    async def _run(self) -> None:
        self._is_running = True
        try:
            if not self._is_over:
                await self._record()
        except StepClosedError:  # the end came too late
            self._is_lost = True
        except asyncio.CancelledError as error:
            if not self._is_over:  # else this is how it is stopped
                self.stop(error)
                self._error = error
        except Exception as error:  # noqa: BLE001 the consumer's to hear
            self.stop(error)
            self._error = error
        finally:
            await _close(self._stream)
            if self._is_lost:
                self._error = await self._why_lost()
            if isinstance(self._error, Exception) and not self.has_consumer:
                logger.warning("the recording of step %s: %s", self.step.step_id, said(self._error))
            _wake(self._changed)

    async def _record(self) -> None:
        await self.step.begin(self._model, self._takeover)
        self._is_open = self._has_begun = True
        self.step.watcher.watch(self)
        _wake(self._changed)
        try:
            while not self._is_over:
                if self.step.group_commit.is_full or self._is_ahead():
                    await self._room()
                self._take(await anext(self._chunks))
        except StopAsyncIteration:
            if not self._is_over:
                self._is_over = True
                await asyncio.shield(self._ended(self._finished()))

    async def _room(self) -> None:
        if self.step.group_commit.is_full:
            await self.step.group_commit.room()
        while self._is_ahead():
            self._wanted = asyncio.get_running_loop().create_future()
            await self._wanted

    def _is_ahead(self) -> bool:
        """Whether as much was read as may be: nothing more once the provider has said how it finished, for then a
        consumer that leaves has had its answer."""
        if self.is_detached:
            return False
        most = 0 if self._reader.finish_reason else min(self._shown // SHARE, self._limit)
        return len(self._queue) >= most + self._is_asked

    def _take(self, chunk: Chunk) -> None:
        if self._is_over:  # a provider that is cancelled may answer all the same
            return
        commands = self._reader.read(chunk)
        stored = self.step.aggregate.submit(*commands) if commands else None
        if stored is not None:
            stored.add_done_callback(self._stored)
        if self.has_consumer:
            self._queue.append((chunk, stored))
            _wake(self._changed)

    def _stored(self, stored: asyncio.Future[int]) -> None:
        error = None if stored.cancelled() else stored.exception()
        if isinstance(error, StepClosedError):
            self._lose()
        elif error is not None:
            self.stop(error)
        _wake(self._changed)

    def _cancel(self) -> None:
        # A task that is cancelled before its first step never runs, not even what it does at its end.
        if self._task is not None and self._is_running and self._task is not asyncio.current_task():
            self._task.cancel()

    def _outcome(self) -> BaseException:
        error, self._error = self._error, None
        return error or StopAsyncIteration()

    # The end of the step

    def _ended(self, end: StepEnd) -> asyncio.Future[int]:
        self._forget()
        return self.step.end(end)

    def _forget(self) -> None:
        self._is_open = False
        self.step.watcher.unwatch(self)
        self.step.lease.left(self.step.step_id)

    def _finished(self) -> StepEnd:
        if self._reader.error is not None:
            return CompletionFailed(at=now(), error=self._reader.error, **self._reported())
        return CompletionFinished(at=now(), finish_reason=self._reader.finish_reason, **self._reported())

    def _early_end(self, error: BaseException | None, reason: str | None) -> StepEnd:
        if isinstance(error, Exception) and reason is None:
            return CompletionFailed(at=now(), error=said(error), **self._reported())
        if self._reader.finish_reason is not None:
            return self._finished()
        reason = reason or (CANCELLED if isinstance(error, asyncio.CancelledError) else LEFT_EARLY)
        return CompletionInterrupted(at=now(), reason=reason, **self._reported())

    def _reported(self) -> dict[str, Any]:
        return {
            "step_id": self.step.step_id,
            "model": self._reader.model,
            "response_id": self._reader.response_id,
            "usage": self._reader.usage,
        }


async def stop_all(stream_recorders: set[StreamRecorder[Any]]) -> None:
    """Interrupts what is still being recorded when a log is closed."""
    for recorder in list(stream_recorders):
        recorder.stop(LogClosedError(LOG_CLOSED), LOG_CLOSED)
    for recorder in list(stream_recorders):
        await recorder.over()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


async def _close(stream: Any) -> None:
    """Closes a provider's stream, so that its tokens stop costing; what that raises matters to nobody, and one that
    does not come to its end is left."""
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
    if close is None:
        return
    with suppress(Exception):
        closing = close()
        if hasattr(closing, "__await__"):
            async with asyncio.timeout(CLOSING_SECONDS):  # in this task: what the stream has open may be bound to it
                await closing
