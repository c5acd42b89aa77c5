"""Repair: one correction for each fault, and the turn as corrections leave it. Pure; the events are never touched."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from unicodedata import category

from turnlog.domain.events import Content, Correction, CorrectionAction
from turnlog.projections.diagnosis import aborted_twins, beginnings, between, diagnose, neighbours
from turnlog.projections.placeholders import NO_RESULT
from turnlog.projections.view import Fault, Step, StepToolCall, ToolResult, Turn

SEPARATOR = "\n\n"
_END = r"[.!?:;\u2026\u3002\uff01\uff1f]"
_CLOSER = r"[)\]\"'*_`\u201d\u2019\u00bb]"
_WHOLE = re.compile(f"(?:{_END}{_CLOSER}*|{_CLOSER}+|```)$")
_LINE = re.compile(r"(?:[-*+] |\d+[.)] |#{1,6} |```)")
"""How a line of Markdown begins that cannot stand in the middle of one."""

_DONE: dict[str, tuple[CorrectionAction, str]] = {
    "repeated_message": ("leave_out", "it is kept once"),
    "repeated_attempt": ("leave_out", "the attempt that was gone on from is kept"),
    "empty_message": ("leave_out", "it is left out, for no provider takes it"),
    "unanswered_call": ("answer", "a result is marked as made up, and says only that there is none"),
    "call_without_name": ("leave_out_call", "the call is left out together with its result"),
    "invalid_arguments": ("empty_arguments", "{} is sent; the text stays in the log"),
    "duplicate_call_id": ("none", "the later call is sent under another id, always the same one"),
    "reused_call_id": ("none", "the later call is sent under another id, always the same one"),
    "call_without_id": ("none", "the call and its result are sent under one id, always the same one"),
    "result_before_call": ("none", "it is filed under its call"),
    "user_message_between": ("none", "the result is filed under its call; what came between follows"),
    "result_not_adjacent": ("none", "the result is filed under its call"),
    "split_results": ("none", "they are filed under their calls"),
    "orphan_result": ("none", "it is left out, and stays in the log"),
    "consecutive_roles": ("none", "where the API wants roles to alternate, they are sent as one"),
    "leading_assistant": ("none", "where the API wants a user message first, one is put there"),
}


def corrected(turn: Turn) -> Turn:
    """The turn with its repairs applied, and the faults that are left."""
    faults = diagnose(turn)
    if not faults and not turn.repairs:
        return _with_whole_responses(turn)
    known = {(c.fault, c.position, c.index) for c in _corrections(turn)}
    left = tuple(fault for fault in faults if (fault.kind, fault.position, fault.index) not in known)
    return mended(turn).model_copy(update={"faults": left})


def mended(turn: Turn) -> Turn:
    """The turn with its repairs applied. What is left is not looked for: that takes longer than all the rest."""
    if not turn.repairs:
        return _with_whole_responses(turn)
    steps, messages = list(turn.steps), turn.messages
    for correction in sorted(_corrections(turn), key=lambda correction: _ORDER.index(correction.action)):
        if correction.action == "leave_out":
            steps = [step for step in steps if step.position != correction.position]
            messages = tuple(m for m in messages if m.position != correction.position)
        else:
            steps = _applied(steps, correction)
    return _with_whole_responses(turn.model_copy(update={"steps": tuple(steps), "messages": messages}))


def _corrections(turn: Turn) -> list[Correction]:
    return [correction for repair in turn.repairs for correction in repair.corrections]


def _with_whole_responses(turn: Turn) -> Turn:
    """The turn with the items of one response of the Responses API as the one step that they are."""
    if all(step.origin != "responses" for step in turn.steps):
        return turn
    places = between(turn)
    steps, end = list[Step](), 0
    for step in turn.steps:
        is_next = bisect_right(places, end) == bisect_right(places, step.position)
        if steps and step.origin == steps[-1].origin == "responses" and is_next:
            # By nothing: as the openai package's `output_text` joins the texts of a response.
            steps[-1] = _joined(steps[-1], step, "")
        else:
            steps.append(step)
        end = step.position
    return turn.model_copy(update={"steps": tuple(steps)})


_ORDER: tuple[CorrectionAction, ...] = ("none", "leave_out", "leave_out_call", "empty_arguments", "answer", "join")


_Parts = dict[int, tuple[Step, Step]]
"""The two parts of a message, by the position of the second."""


def corrections_of(turn: Turn) -> tuple[Correction, ...]:
    """What a repair would do about the faults of a recorded turn that no repair has corrected yet."""
    return corrections_for(turn, corrected(turn).faults)


def corrections_for(turn: Turn, faults: Iterable[Fault]) -> tuple[Correction, ...]:
    """What a repair would do about these faults of a recorded turn."""
    imported = [step for step in turn.steps if step.origin]
    begun = beginnings(turn, imported)
    pairs = neighbours(turn, [step for step in imported if step.position not in begun])
    parts = {second.position: (first, second) for first, second in pairs}
    faults = tuple(faults)
    aborted = _aborted(turn, faults)
    return tuple(_correction(turn, fault, parts, aborted) for fault in faults)


def _aborted(turn: Turn, faults: Iterable[Fault]) -> set[tuple[int, int | None]]:
    """The calls that never ran of the messages in which an id is doubled, by position and index."""
    doubled = {fault.position for fault in faults if fault.kind == "duplicate_call_id"}
    steps = _by_position(step for step in turn.steps if step.position in doubled)
    return {(position, index) for position, step in steps.items() for index in aborted_twins(step)}


def _by_position(steps: Iterable[Step]) -> dict[int, Step]:
    """The first step of each position: one message may be read as several."""
    first = dict[int, Step]()
    for step in steps:
        first.setdefault(step.position, step)
    return first


def _correction(turn: Turn, fault: Fault, parts: _Parts, aborted: set[tuple[int, int | None]]) -> Correction:
    action, text = _DONE.get(fault.kind, ("none", "what cannot be sent is left out, and stays in the log"))
    separator = ""
    if fault.kind == "split_assistant":
        action, (separator, text) = "join", _joint(parts, fault.position)
    elif fault.kind == "duplicate_call_id" and (fault.position, fault.index) in aborted:
        action, text = "leave_out_call", "the one that never ran is left out"
    return Correction(
        fault=fault.kind,
        position=fault.position,
        index=fault.index,
        turn=turn.index,
        action=action,
        separator=separator,
        text=f"{fault.message}: {text}",
    )


def _joint(parts: _Parts, position: int) -> tuple[str, str]:
    if position not in parts:
        return "", "the parts are one message again"
    first, second = parts[position]
    return _separator(first.message.content, second.message.content)


def _separator(first: Content | None, second: Content | None) -> tuple[str, str]:
    if not (isinstance(first, str) and isinstance(second, str) and first and second):
        return "", "the parts are one message again"
    if _is_whole(first, second):
        return SEPARATOR, "both texts seem whole, so a blank line stands between them"
    return "", "the first text seems to break off where the second goes on, so nothing stands between them"


def _is_whole(first: str, second: str) -> bool:
    """Whether a text ends where the next one begins, as far as that can be told."""
    last, begin = first[-1], second[0]
    if last.isspace() or begin.isspace() or first.count("```") % 2 or first.count('"') % 2:
        return False
    if _LINE.match(second):
        return True
    if not (_WHOLE.search(first) or category(last) == "So"):  # So: an emoji, for one
        return False
    if begin.isdigit():
        return last != ":" and not (last == "." and first[-2:-1].isdigit())  # {"a":1}, 3.50
    return category(begin) in _BEGIN or begin in _OPENERS


_BEGIN = frozenset({"Lu", "Lt", "Lo", "So"})
"""Of a character that begins a text: no lower case letter does, nor a sign like the slash of an address."""
_OPENERS = frozenset("\"'([*_`\u201c\u2018\u00ab\u00bf\u00a1")


def _applied(steps: list[Step], correction: Correction) -> list[Step]:
    at = next((place for place, step in enumerate(steps) if step.position == correction.position), None)
    if at is None:
        return steps
    step = steps[at]
    match correction.action:
        case "join":
            if at == 0:
                return steps
            return [*steps[: at - 1], _joined(steps[at - 1], step, correction.separator), *steps[at + 1 :]]
        case "leave_out_call":
            steps[at] = _without_call(step, correction.index)
        case "empty_arguments":
            calls = tuple(
                call.model_copy(update={"arguments": "{}"}) if call.index == correction.index else call
                for call in step.message.tool_calls
            )
            steps[at] = _with_calls(step, calls)
        case "answer":
            steps[at] = _answered(step, correction)
        case "none" | "leave_out":
            pass
    return steps


def _with_calls(step: Step, calls: tuple[StepToolCall, ...]) -> Step:
    return step.model_copy(update={"message": step.message.model_copy(update={"tool_calls": calls})})


def _without_call(step: Step, index: int | None) -> Step:
    results = tuple(result for result in step.tool_results if result.index != index)
    calls = tuple(call for call in step.message.tool_calls if call.index != index)
    return _with_calls(step, calls).model_copy(update={"tool_results": results})


def _answered(step: Step, correction: Correction) -> Step:
    call = next((call for call in step.message.tool_calls if call.index == correction.index), None)
    if call is None or step.result_of(call.index) is not None:  # a real result that came since is better
        return step
    result = ToolResult(
        call_id=call.id,
        index=call.index,
        status="synthetic",
        content=NO_RESULT,
        position=step.position,
        at=step.ended_at or step.started_at,
        origin=step.origin,
    )
    return step.model_copy(update={"tool_results": (*step.tool_results, result)})


def _joined(first: Step, second: Step, separator: str) -> Step:
    a, b = first.message, second.message
    offset = max((call.index for call in a.tool_calls), default=-1) + 1
    calls = tuple(call.model_copy(update={"index": call.index + offset}) for call in b.tool_calls)
    results = tuple(result.model_copy(update={"index": result.index + offset}) for result in second.tool_results)
    message = a.model_copy(
        update={
            "content": joined_content(a.content, b.content, separator),
            "refusal": None if a.refusal is b.refusal is None else (a.refusal or "") + (b.refusal or ""),
            "reasoning": None if a.reasoning is b.reasoning is None else (a.reasoning or "") + (b.reasoning or ""),
            "reasoning_details": a.reasoning_details + b.reasoning_details,
            "tool_calls": a.tool_calls + calls,
            "function_call": b.function_call or a.function_call,
        }
    )
    tool_results = tuple(sorted(first.tool_results + results, key=lambda result: result.position))
    return first.model_copy(update={"message": message, "tool_results": tool_results})


def joined_content(first: Content | None, second: Content | None, separator: str = "") -> Content | None:
    """Two contents as one: texts with `separator` between them; a text beside parts becomes a part."""
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}{separator}{second}"
    return (*_parts(first), *_parts(second))


def _parts(content: Content) -> tuple[dict[str, object], ...]:
    return ({"type": "text", "text": content},) if isinstance(content, str) else content
