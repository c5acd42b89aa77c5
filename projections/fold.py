"""Steps while their response is still coming: their parts are in lists, which are joined when they are frozen.

Appending each delta to an immutable text would take a time that grows with the square of its length.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnlog.domain.events import (
    STATUS_OF_END,
    CompletionAbandoned,
    CompletionFailed,
    CompletionFinished,
    CompletionInterrupted,
    CompletionStarted,
    FunctionCall,
    FunctionCallDelta,
    PartDelta,
    PartExtended,
    PartStarted,
    ReasoningDelta,
    StepEnd,
    ToolCallArgumentsDelta,
    ToolCallNamed,
    ToolCallStarted,
)
from turnlog.domain.finish_reasons import leaves_calls_whole
from turnlog.domain.parts import TextKind
from turnlog.domain.values import JsonObject
from turnlog.projections.arguments import is_object, last_whole
from turnlog.projections.details import joined_details
from turnlog.projections.ended import CallEvent, CallNotes
from turnlog.projections.parts import PartsFold
from turnlog.projections.turn import (
    Step,
    StepMessage,
    StepToolCall,
    ToolResult,
)


class CallFold:
    """A tool call whose arguments are still coming."""

    __slots__ = ("arguments", "custom", "id", "name")

    def __init__(self, id: str, name: str, arguments: str = "", *, custom: bool = False) -> None:  # noqa: A002 the field's name
        self.id = id
        self.name = name
        self.arguments = [arguments]
        self.custom = custom


class StepFold:
    """An open step."""

    __slots__ = (
        "base",
        "calls",
        "content",
        "details",
        "function_arguments",
        "function_name",
        "notes",
        "parts",
        "reasoning",
        "refusal",
        "results",
    )

    def __init__(self, base: Step) -> None:
        message = base.message
        self.base = base
        self.content = [message.content] if isinstance(message.content, str) else []
        self.refusal = [] if message.refusal is None else [message.refusal]
        self.reasoning = [] if message.reasoning is None else [message.reasoning]
        self.details: list[JsonObject] = list(message.reasoning_details)
        self.calls = {
            call.index: CallFold(call.id, call.name, call.arguments, custom=call.custom) for call in message.tool_calls
        }
        function = message.function_call
        self.function_name = [function.name] if function else []
        self.function_arguments = [function.arguments] if function else []
        self.results = base.results()
        self.notes = CallNotes(base)
        self.parts = PartsFold(message.layout) if message.layout else None
        """The marks of the message; None as long as no event has opened a part."""

    def add_text(self, text: str) -> None:
        self._add("text", self.content, text)

    def add_texts(self, texts: Sequence[str]) -> None:
        """Adds texts that follow each other."""
        self.content.extend(texts)
        if self.parts is not None:
            self.parts.grow("text", sum(map(len, texts)))

    def add_refusal(self, text: str) -> None:
        self._add("refusal", self.refusal, text)

    def add_reasoning(self, event: ReasoningDelta) -> None:
        if event.text:
            self._add("reasoning", self.reasoning, event.text)
        self.details.extend(event.details)

    def _add(self, kind: TextKind, texts: list[str], text: str) -> None:
        texts.append(text)
        if self.parts is not None:
            self.parts.grow(kind, len(text))

    def start_part(self, event: PartStarted) -> bool:
        """Opens a part. False if there is one with its number."""
        if self.parts is None:
            message = self._message()
            self.parts = PartsFold(message.marks())
        return self.parts.start(event)

    def change_part(self, event: PartDelta | PartExtended) -> bool:
        """Says more of a part. False if there is no such part."""
        if self.parts is None:
            return False
        return self.parts.continue_field(event) if isinstance(event, PartDelta) else self.parts.extend(event)

    def start_call(self, event: ToolCallStarted) -> bool:
        """Opens a call. False if the step has a call of this index already."""
        if event.index in self.calls:
            return False
        self.calls[event.index] = CallFold(event.id, event.name, custom=event.custom)
        if self.parts is not None:
            self.parts.call(event.index)
        return True

    def name_call(self, event: ToolCallNamed) -> bool:
        """Sets the id and the name of a call. False if there is no such call."""
        call = self.calls.get(event.index)
        if call is None:
            return False
        call.id, call.name = event.id, event.name
        return True

    def add_arguments(self, event: ToolCallArgumentsDelta) -> bool:
        """Continues the arguments of a call. False if there is no such call."""
        call = self.calls.get(event.index)
        if call is None:
            return False
        call.arguments.append(event.arguments)
        return True

    def add_function_call(self, event: FunctionCallDelta) -> None:
        self.function_name.append(event.name)
        self.function_arguments.append(event.arguments)

    def add_result(self, result: ToolResult) -> bool:
        """Files a result under its call. False if there is no such call."""
        if result.index not in self.calls:
            return False
        self.notes.answered(result)
        self.results[result.index] = result
        return True

    def freeze(self) -> Step:
        """The step as it is now."""
        results = tuple(self.results.values())
        return self.base.model_copy(update={"message": self._message(), "tool_results": results, **self.notes.fields()})

    def note_call(self, event: CallEvent, position: int, *, late: bool) -> bool:
        """Notes what has become of a call. False if there is no such call."""
        if event.index in self.calls:
            self.notes.take(event, position, late=late)
        return event.index in self.calls

    def call(self, index: int) -> StepToolCall | None:
        """The call at this index."""
        return self._call(index) if index in self.calls else None

    def ended(self, event: StepEnd) -> Step:
        """The step as the event ends it. Only now is it known which arguments count, and whether they are whole."""
        step = self.freeze()
        reason = event.finish_reason if isinstance(event, CompletionFinished) else None
        calls = ended_calls(step.message.tool_calls, are_whole=leaves_calls_whole(reason))
        message = step.message.model_copy(update={"tool_calls": calls}) if calls else step.message
        return step.model_copy(
            update={
                "message": message,
                "status": STATUS_OF_END[type(event)],
                "finish_reason": reason,
                "note": note_of(event),
                "model": event.model or self.base.model,
                "response_id": event.response_id,
                "usage": event.usage,
                "details": event.details,
                "failure": event.failure if isinstance(event, CompletionFailed) else None,
                "ended_at": event.at,
            }
        )

    def _message(self) -> StepMessage:
        return StepMessage(
            content=_text(self.content),
            refusal=_text(self.refusal),
            reasoning=_text(self.reasoning),
            reasoning_details=self._details(),
            tool_calls=tuple(self._call(index) for index in sorted(self.calls)),
            function_call=self._function_call(),
            layout=() if self.parts is None else self.parts.freeze(),
        )

    def _details(self) -> tuple[JsonObject, ...]:
        # The joined details replace their pieces, as in `_text`.
        self.details[:] = joined_details(self.details)
        return tuple(self.details)

    def _call(self, index: int) -> StepToolCall:
        call = self.calls[index]
        call.arguments = ["".join(call.arguments)]
        arguments = call.arguments[0]
        return StepToolCall(index=index, id=call.id, name=call.name, arguments=arguments, custom=call.custom)

    def _function_call(self) -> FunctionCall | None:
        if not self.function_name:
            return None
        return FunctionCall(name="".join(self.function_name), arguments="".join(self.function_arguments))


def ended_calls(calls: Sequence[StepToolCall], *, are_whole: bool) -> tuple[StepToolCall, ...]:
    """The calls of a step that has ended: with the arguments that count, and with a mark where they were cut off,
    unless `are_whole`, by what the provider said of the end. Of custom tools, whose arguments may be any text, the last
    call may have been."""
    last = calls[-1].index if calls else None
    ended = list[StepToolCall]()
    for call in calls:
        arguments = call.arguments if call.custom else last_whole(call.arguments)
        is_whole = are_whole or (call.index != last if call.custom else is_object(arguments))
        is_as_it_was = is_whole and arguments is call.arguments
        changes = {"arguments": arguments, "cut_off": not is_whole}
        ended.append(call if is_as_it_was else call.model_copy(update=changes))
    return tuple(ended)


def _text(parts: list[str]) -> str | None:
    if not parts:
        return None
    # The joined text replaces its parts: a view that is read often in mid-stream does not join them each time.
    parts[:] = ["".join(parts)]
    return parts[0]


def note_of(event: StepEnd) -> str | None:
    """Why the step ended as it did; None if it was finished."""
    match event:
        case CompletionFailed():
            return event.error
        case CompletionInterrupted() | CompletionAbandoned():
            return event.reason
        case CompletionFinished():
            return None


def new_step(event: CompletionStarted, position: int) -> StepFold:
    """An open step without a message yet."""
    step = Step(
        step_id=event.step_id,
        position=position,
        message=StepMessage(),
        status="open",
        model=event.model,
        started_at=event.at,
        supersedes=event.supersedes or None,
        continues=event.continues or None,
    )
    return StepFold(step)
