"""Reading a provider's stream and recording it as one step, beside the consumer that is shown its chunks.

The recorder reads ahead of the consumer (see `read_ahead`), so that the events of several chunks share a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from enum import Enum, auto
from math import inf
from typing import Any, Generic, TypeVar
from uuid import UUID

from turnlog.domain.decide_turn import NewsError
from turnlog.domain.errors import (
    LogClosedError,
    SessionNotFoundError,
    StepClosedError,
    TurnClosedError,
)
from turnlog.domain.events import CompletionFailed, CompletionInterrupted, StepEnd
from turnlog.domain.inputs import check_kind, checked_optional_name
from turnlog.domain.state import Active
from turnlog.infrastructure.append.chunks import StreamReader, reader_for
from turnlog.infrastructure.append.failures import failure_of, said
from turnlog.infrastructure.append.provider_stream import (
    CLIENT_CLOSED,
    check_stream,
    close_stream,
    is_client_closed,
    opened_stream,
)
from turnlog.infrastructure.append.read_ahead import ReadAhead
from turnlog.infrastructure.append.reported import end_of, reported
from turnlog.infrastructure.append.step_io import CANCELLED, LEFT_EARLY, StepIO
from turnlog.infrastructure.append.writer_lease import LOG_CLOSED
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.tasks import spawned

logger = logging.getLogger("turnlog")

Chunk = TypeVar("Chunk")


class Phase(Enum):
    """How far a recording is. It never goes back."""

    NEW = auto()
    """Nothing was asked of the log or of the stream."""
    OPENING = auto()
    """The step is being opened."""
    RECORDING = auto()
    """The step is open, and the stream is read."""
    ENDED = auto()
    """This recorder has ended the step. The end may still be on its way to the log."""
    LOST = auto()
    """Somebody else has ended the step."""
    UNOPENED = auto()
    """The recording was refused or stopped before its step was open."""


_OVER = (Phase.ENDED, Phase.LOST, Phase.UNOPENED)


class StreamRecorder(Generic[Chunk]):
    """Reads a stream to its end, or until it is stopped, and records it.

    A recording ends in one of three ways: by itself, at the end of the stream or with an exception; by `stop`; or
    because somebody else has ended the step. In each case the provider's stream is closed, and the consumer can still
    take the chunks that are durable. A detached recorder neither waits for its consumer nor ends when it leaves.

    `stream` may be the awaitable that makes the stream: it is awaited when the step is open, so that a refusal of the
    provider is the end of the step. `read_ahead_chunks` is the largest number of chunks that it reads ahead. It is in
    `recorders` while it runs.
    """

    def __init__(
        self,
        step: StepIO,
        stream: AsyncIterator[Chunk] | Awaitable[AsyncIterator[Chunk]],
        model: str | None,
        read_ahead_chunks: int,
        recorders: set[StreamRecorder[Any]],
        *,
        takeover: bool,
        detached: bool,
    ) -> None:
        self.step = step
        self.session_id: UUID = step.aggregate.session_id
        self.is_detached = detached
        check_kind(takeover, bool, "takeover")
        check_kind(detached, bool, "detached")
        self._model = checked_optional_name(model, "model")
        self._takeover = takeover
        check_stream(stream)
        self._stream: Any = stream
        self._recorders = recorders
        self._reader: StreamReader | None = None
        """It is there when the first chunk has come, which says of which API it is."""
        self._read_ahead = ReadAhead[Chunk](None if detached else read_ahead_chunks)
        self._phase = Phase.NEW
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self.end: StepEnd | None = None
        """How this recorder has ended the step; None where it has not."""
        self.has_begun_to_read = False
        """Whether anything has come from the provider."""

    # For the consumer

    def start(self) -> None:
        """Opens the step and begins to read, unless that was done before."""
        if self._task is None and self._phase is Phase.NEW:
            self._task = spawned(self._run(), "a recording")
            self._recorders.add(self)
            self._task.add_done_callback(self._done)

    async def begun(self) -> None:
        """Waits until the step is open. Raises what kept it from being opened."""
        while self._phase in (Phase.NEW, Phase.OPENING) and self._task is not None and not self._task.done():
            await self._read_ahead.change()
        if self._phase in (Phase.NEW, Phase.UNOPENED):
            raise self._outcome()

    async def next(self) -> Chunk:
        """The next chunk, once it is durable. Raises StopAsyncIteration, and what ended the stream before its end."""
        self.start()
        if await self._read_ahead.has_next():
            return self._read_ahead.take()
        if not self._read_ahead.has_consumer:
            raise StopAsyncIteration
        raise self._outcome()

    def leave(self) -> None:
        """The consumer has gone: this stops the recording, unless it is detached."""
        self._read_ahead.leave()
        if not self.is_detached:
            self.stop()

    def stop(self, error: BaseException | None = None, reason: str | None = None) -> None:
        """Stops reading, and ends the step. Does not wait until the end is stored: the caller may be cancelled.

        `error` is why: an exception fails the step and is raised to the consumer. With a `reason` the step is
        interrupted instead.
        """
        phase = self._phase
        if self._is_over():
            return
        self._phase = Phase.ENDED if phase is Phase.RECORDING else Phase.UNOPENED
        if phase is Phase.RECORDING:
            self._end(self._early_end(error, reason))
        if isinstance(error, Exception):
            self._error = error
        # A task that is cancelled before its first step never runs, so it would not close the stream.
        if phase is not Phase.NEW:
            self._cancel()

    async def over(self) -> None:
        """Waits until the provider's stream is closed."""
        if self._task is None:
            await close_stream(self._stream)
        else:
            await asyncio.wait([self._task])

    def _outcome(self) -> BaseException:
        """What the consumer gets after the last chunk. An error is raised once."""
        error, self._error = self._error, None
        return error or StopAsyncIteration()

    # When somebody else has ended the step

    @property
    def open_at(self) -> float:
        """See StepWatch."""
        return self.step.aggregate.stored_at if self._is_open() else -inf

    def _is_open(self) -> bool:
        state = self.step.aggregate.state
        return isinstance(state, Active) and self.step.step_id in state.open_steps

    async def look(self, version: int | None = None) -> None:
        """See StepWatch."""
        aggregate = self.step.aggregate
        with suppress(Exception):  # the step's own appends meet the same error, and report it
            if version is None or version > aggregate.version:
                await aggregate.refresh()
            if not self._is_open():
                self._lose()

    def _lose(self) -> None:
        if self._phase is Phase.RECORDING:
            self._phase = Phase.LOST
            self._forget()
            self._cancel()

    async def _why_lost(self) -> Exception | None:
        if not isinstance(self.step.aggregate.state, Active):
            return SessionNotFoundError(self.session_id)
        end = await self.step.found_end()
        # Whoever cancels an answer wants it to end here. A takeover is an error to the writer that was taken over.
        return None if isinstance(end, CompletionInterrupted) else await self.step.closed_error()

    # The task

    async def _run(self) -> None:
        try:
            if not self._is_over():
                await self._record()
        except asyncio.CancelledError as error:
            if not self._is_over():  # cancelled from outside, and not by `stop`
                self.stop(error)
                self._error = error
        except Exception as error:  # noqa: BLE001 the consumer gets it
            self.stop(error)
            self._error = error
        finally:
            await close_stream(self._stream)
            if self._phase is Phase.LOST:
                self._error = await self._why_lost()
            if not self._read_ahead.has_consumer:
                self._say_error()

    def _say_error(self) -> None:
        """Says what nobody else is told of."""
        error = self._error
        if isinstance(error, Exception) and not isinstance(error, NewsError | TurnClosedError):  # an owner hears those
            logger.warning("the recording of step %s: %s", self.step.step_id, said(error))

    def _done(self, _: asyncio.Task[None]) -> None:
        self._recorders.discard(self)
        self._read_ahead.close()

    async def _record(self) -> None:
        self._phase = Phase.OPENING
        await self.step.begin(self._model, self._takeover)
        self._phase = Phase.RECORDING
        self.step.watcher.watch(self)
        self._read_ahead.wake()
        with self.step.observer.inside(self.step.step_id):
            await self._read()

    async def _read(self) -> None:
        self._stream = await opened_stream(self._stream)
        chunks = aiter(self._stream)
        try:
            while not self._is_over():
                if self.step.group_commit.is_full:
                    await self.step.group_commit.room()
                if self._read_ahead.is_full:
                    await self._read_ahead.room()
                await self._take(await anext(chunks))
        except StopAsyncIteration:
            if not self._is_over():
                await self._finish()

    async def _take(self, chunk: Chunk) -> None:
        if self._is_over():  # a stream may yield a chunk although its reader was cancelled
            return
        self.has_begun_to_read = True
        stored: asyncio.Future[int] | None = None
        reader = self._reader
        if reader is None:
            reader = self._reader = reader_for(chunk, self.step.step_id, self.step.clock.now)
            self.step.observer.step_reads(self.step.step_id, reader.api)
        for commands in reader.read(chunk):
            if stored is not None:
                await self._pause()
                if self._is_over():
                    return
            stored = self.step.aggregate.submit(*commands)
            stored.add_done_callback(self._stored)
        if reader.has_answered:
            # A consumer that leaves now has had its answer, so the step ends as finished.
            self._read_ahead.stay_level()
        self._read_ahead.put(chunk, stored)  # what was stored last, was stored after all before it

    async def _pause(self) -> None:
        """Lets others run between the pieces of one chunk."""
        await asyncio.sleep(0)
        if self.step.group_commit.is_full:
            await self.step.group_commit.room()

    def _stored(self, stored: asyncio.Future[int]) -> None:
        error = None if stored.cancelled() else stored.exception()
        if isinstance(error, StepClosedError):
            self._lose()
        elif error is not None:
            if self._phase is Phase.ENDED:
                # The end is behind it on its way, and fails with it. Tried again, it would not tell of the text that is
                # not there.
                self.step.end_later(self._failed_with(error))
            self.stop(error)
        self._read_ahead.wake()

    async def _finish(self) -> None:
        self._phase = Phase.ENDED
        try:
            await asyncio.shield(self._end(self._finished()))
        except StepClosedError:  # somebody else was faster
            self._phase, self.end = Phase.LOST, None

    def _is_over(self) -> bool:
        return self._phase in _OVER

    def _cancel(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    # The end of the step

    def _end(self, end: StepEnd) -> asyncio.Future[int]:
        self._forget()
        self.end = end
        return self.step.end(end)

    def _forget(self) -> None:
        self.step.watcher.unwatch(self)
        self.step.lease.left(self.step.step_id)

    def _finished(self) -> StepEnd:
        """The end of a stream that has come to its end, as the provider has said what it is."""
        return end_of(self._reader, self.step.step_id)

    def _failed_with(self, error: BaseException) -> StepEnd:
        fields = {"error": said(error), "failure": failure_of(error), **reported(self._reader)}
        return CompletionFailed(at=now(), step_id=self.step.step_id, **fields)

    def _early_end(self, error: BaseException | None, reason: str | None) -> StepEnd:
        if isinstance(error, Exception) and reason is None and not is_client_closed(self._stream):
            return self._failed_with(error)
        if self._reader is not None and self._reader.has_answered:
            return self._finished()
        if reason is None and isinstance(error, Exception):
            reason = CLIENT_CLOSED
        reason = reason or (CANCELLED if isinstance(error, asyncio.CancelledError) else LEFT_EARLY)
        return self.step.broken_off(reason, **reported(self._reader))


async def stop_all(recorders: set[StreamRecorder[Any]]) -> None:
    """Interrupts the recordings that still run when a log is closed."""
    for recorder in list(recorders):
        recorder.stop(LogClosedError(LOG_CLOSED), LOG_CLOSED)
    for recorder in list(recorders):
        await recorder.over()
