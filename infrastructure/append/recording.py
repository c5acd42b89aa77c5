"""Showing a provider's stream while it is recorded."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Generic, Self, TypeVar

from turnlog.infrastructure.append.stream_recorder import StreamRecorder

Chunk = TypeVar("Chunk")


class Recording(Generic[Chunk]):
    """An async iterator over a provider's stream: each chunk as it came, once its events are durable.

    At the natural end of the stream the step is finished. When the consumer stops early (break, `aclose`,
    cancellation) it is interrupted, unless the provider had said how it finished; when the provider raises it is
    failed, and the exception goes on to the consumer, after the chunks before it. When somebody else ends the step,
    the provider's stream is closed at once: after `Session.cancel` the iteration simply ends, after a takeover it
    raises StepClosedError. The partial stays in each case. It is what was shown, and at most one chunk in 16 more.

    Detached, the stream is read and recorded to its end also when the consumer stops early.
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
        """Stops early: ends the step if it is still open, closes the provider's stream, and waits until that is
        stored. Detached, it only leaves."""
        self._is_over = True
        self._recorder.leave()
        if not self._recorder.is_detached:
            await self._recorder.over()
            await self._recorder.step.aggregate.flush()

    def __del__(self) -> None:
        # The consumer broke out of the loop: the end is handed over here, for nobody else will do it.
        with suppress(RuntimeError):  # no loop runs any more: the step will be found abandoned
            asyncio.get_running_loop()
            self._recorder.leave()
