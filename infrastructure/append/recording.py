"""A recording: a provider's stream as its consumer sees it while it is recorded."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Generic, Self, TypeVar

from turnlog.domain.errors import WrongLoopError, WrongProcessError
from turnlog.infrastructure.append.stream_recorder import StreamRecorder

Chunk = TypeVar("Chunk")


class Recording(Generic[Chunk]):
    """An async iterator over a provider's stream. It gives each chunk unchanged, once its events are durable.

    How the step ends:

    * Finished, at the natural end of the stream.
    * Interrupted, when the consumer stops early (break, `aclose`, cancellation). If the provider has said by then how
      the answer finished, the step is finished all the same.
    * Failed, when the provider raises. The consumer gets the exception after the chunks before it.
    * By somebody else. The provider's stream is closed at once. After `Session.cancel` the iteration simply ends, after
      a takeover it raises StepClosedError.

    What was recorded stays in each case: the chunks that were shown, and at most one in 16 more. A detached recording
    reads and records the stream to its end even if the consumer stops early.
    """

    def __init__(self, recorder: StreamRecorder[Chunk]) -> None:
        self._recorder = recorder
        self._is_over = False

    @property
    def step_id(self) -> str:
        """The id of the step."""
        return self._recorder.step.step_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        self._recorder.step.home.check()
        if self._is_over:
            raise StopAsyncIteration
        try:
            return await self._recorder.next()
        except asyncio.CancelledError as error:
            self._is_over = True
            if self._recorder.is_detached:
                self._recorder.leave()
            else:
                self._recorder.stop(error)
                await self._recorder.over()
            raise
        except BaseException:
            self._is_over = True
            raise

    async def aclose(self) -> None:
        """Stops early: ends the step if it is still open, closes the provider's stream, and waits until the end is
        stored. A detached recording goes on without its consumer."""
        self._recorder.step.home.check()
        self._is_over = True
        self._recorder.leave()
        if not self._recorder.is_detached:
            await self._recorder.over()
            await self._recorder.step.aggregate.flush()

    def __del__(self) -> None:
        # The consumer may have left the loop with `break`: then nobody else ends the step.
        # Where no event loop runs any more, the reaper will end the step as abandoned.
        with suppress(RuntimeError, WrongProcessError, WrongLoopError):
            asyncio.get_running_loop()
            self._recorder.step.home.check()
            self._recorder.leave()
