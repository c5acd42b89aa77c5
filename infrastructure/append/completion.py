"""A completion: a step that a handler writes itself."""

from __future__ import annotations

import logging
from asyncio import get_running_loop
from types import TracebackType
from typing import Any, Self

from turnlog.domain.errors import StepClosedError, TurnlogError
from turnlog.domain.events import CompletionFinished, ToolCall
from turnlog.domain.inputs import (
    check_kind,
    check_length,
    checked_optional_name,
    checked_range,
    checked_short,
    checked_text,
)
from turnlog.domain.limits import MAX_CALL_ID_LENGTH, MAX_CALLS, MAX_MESSAGE_LENGTH, MAX_NAME_LENGTH
from turnlog.domain.step_appends import (
    AppendFunctionCall,
    AppendReasoning,
    AppendRefusal,
    AppendText,
    AppendToolCall,
    AppendWholeToolCall,
)
from turnlog.infrastructure.append.chunks.fields import as_object
from turnlog.infrastructure.append.step_io import StepIO
from turnlog.infrastructure.clock import now

logger = logging.getLogger("turnlog")


class Completion:
    """One step that a handler writes itself:

        async with session.completion(model="m") as completion:
            await completion.text("Hel")
            await completion.finish("stop")

    Each call returns when its delta is durable. Leaving the block without `finish` ends the step: as failed after an
    exception, else as interrupted. What was written stays. Entering raises TurnInProgressError while another step is
    being written. Any call after the end of the step raises StepClosedError, also when somebody else has ended it.
    InvalidInputError is raised for what cannot be recorded, and LimitExceededError for what is too large: that call
    alone is refused.
    """

    def __init__(self, step: StepIO, model: str | None, takeover: bool = False) -> None:
        self._step = step
        check_kind(takeover, bool, "takeover")
        self._model = checked_optional_name(model, "model")
        self._length = self._function_name = 0
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
        # As in `_text` and in `step.append`, but with as few calls as can be for each delta.
        self._length += len(checked_text(text, "text", step.max_bytes))
        if self._length > MAX_MESSAGE_LENGTH:
            self._length -= len(text)
            check_length(self._length + len(text), "response")
        if get_running_loop() is not step.home.loop or step.home.is_left:
            step.home.check()
        command = AppendText(step.clock.now(), step.step_id, text)
        if step.group_commit.is_full:
            await step.group_commit.room()
        try:
            await step.aggregate.submit(command)
        except StepClosedError as error:
            raise await step.closed_error() from error

    async def reasoning(self, text: str) -> None:
        """Appends text to the reasoning."""
        await self._step.append(AppendReasoning(now(), self.step_id, self._text(text, "text")))

    async def refusal(self, text: str) -> None:
        """Appends text to the refusal."""
        await self._step.append(AppendRefusal(now(), self.step_id, self._text(text, "text")))

    async def tool_call(self, id: str, name: str, arguments: str = "") -> None:  # noqa: A002 the field's name
        """Appends a whole call. The same call again changes nothing. A different call with the same id raises
        ToolCallConflictError."""
        call = ToolCall(
            id=checked_short(id, "id", MAX_CALL_ID_LENGTH),
            name=checked_short(name, "name"),
            arguments=self._text(arguments, "arguments"),
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
        """Appends a fragment of the call at `index`. The first fragment of an index begins the call."""
        fragment = AppendToolCall(
            now(),
            self.step_id,
            checked_range(index, "index", 0, MAX_CALLS - 1),
            "" if id is None else checked_short(id, "id", MAX_CALL_ID_LENGTH),
            checked_optional_name(name, "name") or "",
            "" if arguments is None else self._text(arguments, "arguments"),
        )
        await self._step.append(fragment)

    async def function_call_delta(self, *, name: str | None = None, arguments: str | None = None) -> None:
        """Appends a fragment of the legacy `function_call`."""
        name = checked_optional_name(name, "name") or ""
        text = "" if arguments is None else self._text(arguments, "arguments")
        check_length(self._function_name + len(name), "name", MAX_NAME_LENGTH)
        self._function_name += len(name)
        await self._step.append(AppendFunctionCall(now(), self.step_id, name, text))

    async def finish(self, finish_reason: str | None = "stop", *, usage: Any = None, model: str | None = None) -> None:
        """Ends the step as finished. `usage` is the provider's usage object, which is kept verbatim."""
        finished = CompletionFinished(
            at=now(),
            step_id=self.step_id,
            finish_reason=checked_optional_name(finish_reason, "finish_reason"),
            usage=as_object(usage),
            model=checked_optional_name(model, "model"),
        )
        self._step.home.check()
        if self._ended:
            raise StepClosedError(self.step_id)
        self._ended = True
        try:
            await self._step.end(finished)
        except StepClosedError as error:
            raise await self._step.closed_error() from error

    def _text(self, value: Any, field: str) -> str:
        """A text that goes into the response, which must not grow for ever."""
        text = checked_text(value, field, self._step.max_bytes)
        check_length(self._length + len(text), "response")
        self._length += len(text)
        return text

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ended or self._step.home.is_left:  # in a forked child the step is the parent's
            return
        self._ended = True
        if isinstance(error, StepClosedError) and error.step_id == self.step_id:
            return  # somebody else has ended the step
        ended = self._step.end(self._step.end_for(error))
        try:
            await ended
        except TurnlogError as failure:
            if error is None and not isinstance(failure, StepClosedError):
                raise
            logger.warning("the end of step %s was not recorded: %s", self.step_id, failure)
