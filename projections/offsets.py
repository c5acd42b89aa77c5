"""Where each piece of an open step belongs: in its block, in characters, and in the log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from turnlog.domain import events as e
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import JsonObject
from turnlog.projections.turn import Step, Turn

_OF_STEPS: tuple[type[e.StepDelta | e.StepEnd], ...] = (*e.STEP_DELTAS, *e.STATUS_OF_END)


class Place(NamedTuple):
    """Where an event belongs: its `offset` in its block, 0 if it has none, and the position at which its step `began`,
    None if it is of no step, or of one whose beginning is not in the log."""

    offset: int = 0
    began: int | None = None


class _OpenStep:
    """The lengths of the blocks of a step, in characters, and the position at which it began."""

    __slots__ = ("began", "lengths")

    def __init__(self, began: int | None, lengths: dict[str, int]) -> None:
        self.began = began
        self.lengths = lengths


class Offsets:
    """The open steps, and the lengths of their blocks: where the next fragment of each belongs."""

    def __init__(self, turns: Iterable[Turn] = ()) -> None:
        steps = (step for turn in turns for step in turn.steps if step.status == "open")
        self._open = {step.step_id: _OpenStep(step.position, _lengths(step)) for step in steps}

    def know(self, event: e.SessionEvent) -> bool:
        """Whether everything that came before this event in its step is known."""
        return not isinstance(event, _OF_STEPS) or event.step_id in self._open

    def learn(self, step_id: str, earlier: Iterable[RecordedEvent]) -> None:
        """Takes the earlier events of this step, in any order."""
        self._open[step_id] = _OpenStep(None, {})
        for recorded in sorted(earlier, key=lambda recorded: recorded.position):
            event = recorded.event
            if isinstance(event, e.CompletionStarted | e.StepDelta) and event.step_id == step_id:
                self.take(recorded)

    def take(self, recorded: RecordedEvent) -> Place:
        """Where the event belongs. It then counts as part of its step."""
        event = recorded.event
        if isinstance(event, e.STEP_DELTAS):
            step = self._open.get(event.step_id) or self._open.setdefault(event.step_id, _OpenStep(None, {}))
            return Place(_taken(step.lengths, event), step.began)
        if isinstance(event, e.CompletionStarted):
            self._open[event.step_id] = _OpenStep(recorded.position, {})
            return Place(0, recorded.position)
        if isinstance(event, e.StepEnd) and (ended := self._open.pop(event.step_id, None)):
            return Place(0, ended.began)
        return Place()


def _taken(lengths: dict[str, int], event: e.StepDelta) -> int:
    """The offset of the event in its block, which is then as much longer."""
    if isinstance(event, e.FRAGMENTS):
        block, length = _block(event)
        offset = lengths.get(block, 0)
        lengths[block] = offset + length
        return offset
    if isinstance(event, e.ToolCallNamed):
        return lengths.get(f"tool_call {event.index}", 0)
    if isinstance(event, e.PartStarted | e.PartExtended):
        _take_data(lengths, event)
    return 0


def _take_data(lengths: dict[str, int], event: e.PartStarted | e.PartExtended) -> None:
    """Takes what a part has from its beginning, or what takes the place of what came in pieces."""
    is_new = f"part {event.part}" not in lengths
    if is_new == isinstance(event, e.PartStarted):
        lengths |= _of_part(event.part, event.data)


def _of_part(part: int, data: JsonObject) -> dict[str, int]:
    texts = {f"part {part} {field}": len(text) for field, text in data.items() if isinstance(text, str)}
    return {f"part {part}": 0, **texts}


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
        case e.PartDelta():
            return f"part {event.part} {event.field}", len(event.text)


def _lengths(step: Step) -> dict[str, int]:
    message = step.message
    texts = {"text": message.content, "reasoning": message.reasoning, "refusal": message.refusal}
    lengths = {block: len(text) for block, text in texts.items() if isinstance(text, str)}
    lengths |= {f"tool_call {call.index}": len(call.arguments) for call in message.tool_calls}
    for mark in message.layout:
        if mark.part and f"part {mark.part}" not in lengths:
            lengths |= _of_part(mark.part, mark.data)
    return lengths | ({"function_call": len(message.function_call.arguments)} if message.function_call else {})
