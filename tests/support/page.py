"""A client that shows a session: it has what a view says, and puts each delta in its place."""

from __future__ import annotations

from typing import Any

from turnlog import Delta, SessionView, Step
from turnlog.domain.parts import extended
from turnlog.projections.deltas import (
    ApprovalDecided,
    ApprovalRequested,
    FunctionCallFragment,
    MessageCame,
    PartExtended,
    PartFragment,
    PartStarted,
    StepEnded,
    StepStarted,
    TextFragment,
    ToolCallFragment,
    ToolResultCame,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)

Shown = dict[str, Any]


class Page:
    """What the client shows: steps by their ids, messages, the runs of turns, what is queued, and late results."""

    def __init__(self, view: SessionView | None) -> None:
        self.steps: dict[str, Shown] = {}
        self.messages: list[tuple[str, Any]] = []
        self.runs: list[list[Any]] = []
        self.queue: list[str] = []
        self.late: list[tuple[Any, ...]] = []
        turns = view.turns if view else ()
        for turn in turns:
            self.steps |= {step.step_id: _of_step(step) for step in turn.steps}
            self.queue += [turn.messages[0].message_id] if turn.is_queued else []
        messages = sorted((one for turn in turns for one in turn.messages), key=lambda one: one.position)
        self.messages += [(message.role, message.content) for message in messages]
        runs = sorted((run for turn in turns for run in turn.runs), key=lambda run: run.position)
        self.runs += [[run.run, run.status, run.reason] for run in runs]
        late = sorted((one for turn in turns for one in turn.late_results), key=lambda one: one.position)
        self.late += [(one.step_id, one.index, one.status, one.content) for one in late]

    def shown(self) -> Any:
        """All of it."""
        return self.steps, self.messages, self.runs, self.queue, self.late

    @property
    def is_in_hand(self) -> bool:
        """Whether a turn has an owner now."""
        return any(status is None for _, status, _ in self.runs)

    def tell(self, delta: Delta) -> None:
        """Puts the delta in its place."""
        match delta:
            case TurnStarted() | TurnEnded():
                self._tell_turn(delta)
            case MessageCame():
                self._tell_message(delta)
            case StepStarted():
                self._answered_queue()
                self.steps[delta.step_id] = _empty() | {"of": (delta.supersedes, delta.continues)}
            case TextFragment() | ToolCallFragment() | FunctionCallFragment() | StepEnded():
                _tell_step(self.steps[delta.step_id], delta)
            case PartStarted() | PartFragment() | PartExtended():
                _tell_part(self.steps[delta.step_id]["parts"], delta)
            case ToolStarted() | ApprovalRequested() | ApprovalDecided():
                _tell_call(self.steps[delta.step_id], delta)
            case ToolResultCame():
                result = (delta.call_id, delta.status, delta.content)
                self.steps[delta.step_id]["results"][delta.index] = result
                if delta.late and delta.status != "pending":
                    self.late.append((delta.step_id, delta.index, delta.status, delta.content))
            case _:
                pass

    def _tell_turn(self, delta: TurnStarted | TurnEnded) -> None:
        self.queue = [message_id for message_id in self.queue if message_id != delta.turn_id]
        if isinstance(delta, TurnStarted):
            for run in self.runs:
                run[1] = run[1] or "abandoned"
            self.runs.append([delta.run, None, ""])
            return
        known = [run for run in self.runs if delta.run and run[0] == delta.run]
        if not known:
            known = [[delta.run, None, ""]]  # it was stopped in the queue
            self.runs += known
        known[-1][1:] = [delta.status, delta.reason]

    def _tell_message(self, delta: MessageCame) -> None:
        if delta.role == "assistant":
            self._answered_queue()
            calls = {i: [call.id, call.name, call.arguments] for i, call in enumerate(delta.tool_calls)}
            said = {"text": delta.content or "", "calls": calls, "ended": ("finished", None, None, None)}
            self.steps[delta.message_id] = _empty() | said
            return
        self.messages.append((delta.role, delta.content))
        if delta.queued:
            self.queue.append(delta.message_id)

    def _answered_queue(self) -> None:
        """A step without an owner answers what is queued."""
        if not self.is_in_hand:
            self.queue.clear()


def _tell_step(step: Shown, delta: TextFragment | ToolCallFragment | FunctionCallFragment | StepEnded) -> None:
    match delta:
        case TextFragment():
            step[delta.kind] = _put(step[delta.kind], delta.offset, delta.text)
        case ToolCallFragment():
            call = step["calls"].setdefault(delta.index, ["", "", ""])
            named = zip(call[:2], (delta.id, delta.name), strict=True)
            call[:2] = [old if new is None else new for old, new in named]
            call[2] = _put(call[2], delta.offset, delta.arguments)
        case FunctionCallFragment():
            function = step["function"]
            function[0] += delta.name
            function[1] = _put(function[1], delta.offset, delta.arguments)
        case StepEnded():
            step["ended"] = (delta.status, delta.finish_reason, delta.note, delta.failure)


def _tell_part(parts: dict[int, Any], delta: PartStarted | PartFragment | PartExtended) -> None:
    if isinstance(delta, PartStarted):
        parts.setdefault(delta.part, (delta.part_kind, delta.api, delta.call, dict(delta.data)))
    elif delta.part in parts:
        data = parts[delta.part][-1]
        if isinstance(delta, PartExtended):
            parts[delta.part] = (*parts[delta.part][:-1], extended(data, delta.data))
        else:
            known = data.get(delta.field)
            data[delta.field] = _put(known if isinstance(known, str) else "", delta.offset, delta.text)


def _tell_call(step: Shown, delta: ToolStarted | ApprovalRequested | ApprovalDecided) -> None:
    match delta:
        case ToolStarted():
            step["tools"].append((delta.index, delta.attempt, delta.run))
        case ApprovalRequested():
            step["approvals"].setdefault(delta.index, (None, "", "", False))
        case ApprovalDecided():
            step["approvals"][delta.index] = (delta.approved, delta.by, delta.reason, delta.for_turn)


def _of_step(step: Step) -> Shown:
    message, function = step.message, step.message.function_call
    return {
        "text": message.content or "",
        "reasoning": message.reasoning or "",
        "refusal": message.refusal or "",
        "calls": {call.index: [call.id, call.name, call.arguments] for call in message.tool_calls},
        "function": [function.name, function.arguments] if function else ["", ""],
        "parts": _of_parts(step),
        "results": {r.index: (r.call_id, r.status, r.content) for r in step.tool_results},
        "ended": (step.status, step.finish_reason, step.note, step.failure),
        "of": (step.supersedes, step.continues),
        "tools": [(run.index, run.attempt, run.run) for run in step.tool_runs],
        "approvals": {one.index: (one.approved, one.by, one.reason, one.for_turn) for one in step.approvals},
    }


def _of_parts(step: Step) -> dict[int, Any]:
    parts: dict[int, Any] = {}
    for mark in step.message.layout:
        if mark.part:
            parts.setdefault(mark.part, (mark.kind, mark.api, mark.call, mark.data))
    return parts


def _empty() -> Shown:
    texts = {"text": "", "reasoning": "", "refusal": ""}
    noted = {"of": (None, None), "tools": [], "approvals": {}}
    noted |= {"parts": {}}
    return {**texts, "calls": {}, "function": ["", ""], "results": {}, "ended": ("open", None, None, None), **noted}


def _put(text: str, offset: int, fragment: str) -> str:
    """There is neither a gap nor a repeat: the offset is where the text ends."""
    assert offset == len(text)
    return text + fragment
