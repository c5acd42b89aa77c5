"""Where in its block each fragment of an open step belongs, in characters."""

from __future__ import annotations

from collections.abc import Iterable

from turnlog.domain import events as e
from turnlog.domain.values import JsonObject
from turnlog.projections.turn import Step, Turn


class Offsets:
    """The lengths of the blocks of open steps, in characters: where the next fragment of each belongs."""

    def __init__(self, turns: Iterable[Turn] = ()) -> None:
        steps = (step for turn in turns for step in turn.steps if step.status == "open")
        self._lengths = {step.step_id: _lengths(step) for step in steps}

    def know(self, event: e.SessionEvent) -> bool:
        """Whether everything that came before this event in its block is known."""
        return not isinstance(event, e.Fragment | e.ToolCallNamed) or event.step_id in self._lengths

    def learn(self, step_id: str, earlier: list[e.SessionEvent]) -> None:
        """Takes the earlier events of this step, in any order."""
        self._lengths[step_id] = {}
        for event in earlier:
            if isinstance(event, e.STEP_DELTAS) and event.step_id == step_id:
                self.take(event)

    def take(self, event: e.SessionEvent) -> int:
        """The offset of the event in its block, 0 if it has none. The event then counts as part of the block."""
        match event:
            case e.CompletionStarted():
                self._lengths[event.step_id] = {}
            case e.CompletionEnded():
                self._lengths.pop(event.step_id, None)
            case e.ToolCallNamed():
                return self._lengths.get(event.step_id, {}).get(f"tool_call {event.index}", 0)
            case e.PartStarted() | e.PartExtended():
                if event.step_id in self._lengths:
                    _take_data(self._lengths[event.step_id], event)
            case _ if isinstance(event, e.FRAGMENTS):
                lengths = self._lengths.setdefault(event.step_id, {})
                block, length = _block(event)
                offset = lengths.get(block, 0)
                lengths[block] = offset + length
                return offset
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
