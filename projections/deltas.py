"""What a client has to be told of each event: small models, one an event, with its position as the resume cursor.

A fragment says where in its block it belongs (`offset`, in characters of what came before it), so that a client can
put it in place whatever it has. A view at a position and the deltas after it are the view at the end.
"""

from __future__ import annotations

from typing import Literal

from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.fold import STATUS_OF_END, note_of
from turnlog.projections.turn import Step, StepStatus
from turnlog.projections.view import SessionView


class Delta(Frozen):
    """The base of all deltas. `position` is that of the event: go on after it."""

    kind: str
    position: int

    def to_sse(self) -> str:
        """As a server-sent event: the position is its id, which a browser sends back as `Last-Event-ID`."""
        return f"id: {self.position}\nevent: {self.kind}\ndata: {self.model_dump_json()}\n\n"


class StepStarted(Delta):
    """An answer begins."""

    kind: Literal["step_started"] = "step_started"
    step_id: str
    model: Text | None


class TextFragment(Delta):
    """A piece of the answer's text, reasoning or refusal. `details` are a reasoning's signed or encrypted blocks."""

    kind: Literal["text", "reasoning", "refusal"]
    step_id: str
    offset: int
    text: Text
    details: tuple[JsonObject, ...] = ()


class ToolCallFragment(Delta):
    """A piece of the call at `index`: its arguments, or its id and name, which are whole and None where unchanged."""

    kind: Literal["tool_call"] = "tool_call"
    step_id: str
    index: int
    id: Text | None = None
    name: Text | None = None
    offset: int
    arguments: Text = ""


class FunctionCallFragment(Delta):
    """A piece of the legacy function call; `name` goes on, too."""

    kind: Literal["function_call"] = "function_call"
    step_id: str
    name: Text
    offset: int
    arguments: Text


class StepEnded(Delta):
    """An answer has ended. `note` says why, where it was not finished."""

    kind: Literal["step_ended"] = "step_ended"
    step_id: str
    status: StepStatus
    finish_reason: Text | None
    note: Text | None
    model: Text | None
    usage: JsonObject | None


class MessageCame(Delta):
    """A whole message. One of the assistant is a step of its own, with the message's id."""

    kind: Literal["message"] = "message"
    message_id: str
    role: e.Role
    content: e.Content | None
    name: Text | None
    refusal: Text | None
    tool_calls: tuple[e.ToolCall, ...]
    function_call: e.FunctionCall | None


class ToolResultCame(Delta):
    """A result of the call at `index`, in place of an earlier one."""

    kind: Literal["tool_result"] = "tool_result"
    step_id: str
    index: int
    call_id: Text
    status: e.ResultStatus
    content: e.Content


class SessionChanged(Delta):
    """Something else changed, as the topic says (a title, metadata, an import, a repair): the view has it."""

    kind: Literal["changed"] = "changed"
    topic: str


class SessionGone(Delta):
    """The session was deleted. Nothing follows."""

    kind: Literal["deleted"] = "deleted"


class Offsets:
    """How long the blocks of the open steps are."""

    def __init__(self, view: SessionView | None = None) -> None:
        steps = (step for turn in view.turns for step in turn.steps if step.status == "open") if view else ()
        self._lengths = {step.step_id: _lengths(step) for step in steps}

    def know(self, event: e.SessionEvent) -> bool:
        """Whether all that came before this event in its block was seen."""
        return not isinstance(event, e.Fragment | e.ToolCallNamed) or event.step_id in self._lengths

    def learn(self, step_id: str, earlier: list[e.SessionEvent]) -> None:
        """Takes what came of this step before, in whatever order."""
        self._lengths[step_id] = {}
        for event in earlier:
            if isinstance(event, e.FRAGMENTS) and event.step_id == step_id:
                self.take(event)

    def take(self, event: e.SessionEvent) -> int:
        """The offset of the event in its block, 0 for what has none; the block then is as long as after it."""
        match event:
            case e.CompletionStarted():
                self._lengths[event.step_id] = {}
            case e.CompletionFinished() | e.CompletionInterrupted() | e.CompletionFailed() | e.CompletionAbandoned():
                self._lengths.pop(event.step_id, None)
            case e.ToolCallNamed():
                return self._lengths.get(event.step_id, {}).get(f"tool_call {event.index}", 0)
            case _ if isinstance(event, e.FRAGMENTS):
                lengths = self._lengths.setdefault(event.step_id, {})
                block, length = _block(event)
                offset = lengths.get(block, 0)
                lengths[block] = offset + length
                return offset
        return 0


def _block(event: e.Fragment) -> tuple[str, int]:
    match event:
        case e.TextDelta():
            return "text", len(event.text)
        case e.ReasoningDelta():
            return "reasoning", len(event.text)
        case e.RefusalDelta():
            return "refusal", len(event.text)
        case e.ToolCallArgumentsDelta():
            return f"tool_call {event.index}", len(event.arguments)
        case e.FunctionCallDelta():
            return "function_call", len(event.arguments)


def _lengths(step: Step) -> dict[str, int]:
    message = step.message
    texts = {"text": message.content, "reasoning": message.reasoning, "refusal": message.refusal}
    lengths = {block: len(text) for block, text in texts.items() if isinstance(text, str)}
    lengths |= {f"tool_call {call.index}": len(call.arguments) for call in message.tool_calls}
    return lengths | ({"function_call": len(message.function_call.arguments)} if message.function_call else {})


def delta_of(recorded: RecordedEvent, offset: int) -> Delta:
    """The delta of an event. `offset` is where its fragment belongs (see Offsets)."""
    at, event = recorded.position, recorded.event
    match event:
        case e.TextDelta(step_id=step_id, text=text):
            return TextFragment(kind="text", position=at, step_id=step_id, offset=offset, text=text)
        case e.ReasoningDelta(step_id=step_id, text=text, details=details):
            return TextFragment(
                kind="reasoning", position=at, step_id=step_id, offset=offset, text=text, details=details
            )
        case e.RefusalDelta(step_id=step_id, text=text):
            return TextFragment(kind="refusal", position=at, step_id=step_id, offset=offset, text=text)
        case e.ToolCallStarted() | e.ToolCallNamed():
            return ToolCallFragment(
                position=at, step_id=event.step_id, index=event.index, id=event.id, name=event.name, offset=offset
            )
        case e.ToolCallArgumentsDelta(step_id=step_id, index=index, arguments=arguments):
            return ToolCallFragment(position=at, step_id=step_id, index=index, offset=offset, arguments=arguments)
        case e.FunctionCallDelta(step_id=step_id, name=name, arguments=arguments):
            return FunctionCallFragment(position=at, step_id=step_id, name=name, offset=offset, arguments=arguments)
        case _:
            return _whole(at, event)


def _whole(at: int, event: e.SessionEvent) -> Delta:
    match event:
        case e.CompletionStarted(step_id=step_id, model=model):
            return StepStarted(position=at, step_id=step_id, model=model)
        case e.CompletionFinished() | e.CompletionInterrupted() | e.CompletionFailed() | e.CompletionAbandoned():
            return _ended(at, event)
        case e.MessageAdded():
            return MessageCame(position=at, **dict(event))
        case e.ToolResultAdded():
            return ToolResultCame(position=at, **dict(event))
        case e.SessionDeleted():
            return SessionGone(position=at)
        case _:
            return SessionChanged(position=at, topic=event.topic)


def _ended(at: int, event: e.StepEnd) -> StepEnded:
    return StepEnded(
        position=at,
        step_id=event.step_id,
        status=STATUS_OF_END[type(event)],
        finish_reason=event.finish_reason if isinstance(event, e.CompletionFinished) else None,
        note=note_of(event),
        model=event.model,
        usage=event.usage,
    )
