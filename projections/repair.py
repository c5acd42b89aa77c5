"""Repair: one correction for each fault, and turns with corrections applied. Pure; the events are never touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from unicodedata import category

from turnlog.domain.events import Content, Correction, CorrectionAction
from turnlog.domain.foreign import IN_PIECES
from turnlog.domain.parts import PartMark
from turnlog.projections.diagnosis import aborted_twins, diagnose
from turnlog.projections.joining import joined_contents, joined_texts
from turnlog.projections.neighbours import (
    beginnings,
    has_own_results,
    is_nothing_between,
    neighbours,
    positions_between,
)
from turnlog.projections.placeholders import NO_RESULT
from turnlog.projections.turn import Fault, Step, StepMessage, StepToolCall, ToolResult, Turn

SEPARATOR = "\n\n"
"""Goes between the two parts of a split message if both seem whole."""
_ENDS = frozenset(".!?:;\u2026\u3002\uff01\uff1f)]\"'*_`\u201d\u2019\u00bb")
"""What a whole text ends in: the end of a sentence, or a closing sign."""
_LINE = re.compile(r"(?:[-*+] |\d+[.)] |#{1,6} |```)")
"""The beginning of a Markdown line, which cannot be in the middle of one."""

_DONE: dict[str, tuple[CorrectionAction, str]] = {
    "repeated_message": ("leave_out", "it is kept once"),
    "repeated_attempt": ("leave_out", "the attempt that was continued is kept"),
    "empty_message": ("leave_out", "it is left out, because no provider accepts it"),
    "unanswered_call": ("answer", "it gets a result that is marked as made up and says only that there is none"),
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
    "leading_assistant": ("none", "where the API wants a user message first, one is put in front"),
}


def corrected(turn: Turn) -> Turn:
    """The turn with its repairs applied, and the faults that remain."""
    faults = diagnose(turn)
    if not faults and not turn.repairs:
        return _with_whole_responses(turn)
    known = {(c.fault, c.position, c.index) for c in _corrections(turn)}
    left = tuple(fault for fault in faults if (fault.kind, fault.position, fault.index) not in known)
    return mended(turn).model_copy(update={"faults": left})


def mended(turn: Turn) -> Turn:
    """The turn with its repairs applied. Faults are not looked for: that takes longer than everything else."""
    if not turn.repairs:
        return _with_whole_responses(turn)
    corrections = _corrections(turn)
    left_out = {correction.position for correction in corrections if correction.action == "leave_out"}
    messages = tuple(message for message in turn.messages if message.position not in left_out)
    steps = _edited([step for step in turn.steps if step.position not in left_out], corrections)
    steps = _with_joins(steps, corrections)
    return _with_whole_responses(turn.model_copy(update={"steps": tuple(steps), "messages": messages}))


def _corrections(turn: Turn) -> list[Correction]:
    return [correction for repair in turn.repairs for correction in repair.corrections]


def _with_whole_responses(turn: Turn) -> Turn:
    """The turn in which the pieces of one response, as the items of the Responses API, are one step."""
    if all(step.origin not in IN_PIECES for step in turn.steps):
        return turn
    positions = positions_between(turn)
    runs, end = list[list[Step]](), 0
    for step in turn.steps:
        is_next = is_nothing_between(positions, end, step.position)
        if runs and is_next and _is_of_response(runs[-1][-1], step):
            runs[-1].append(step)
        else:
            runs.append([step])
        end = step.position
    # Nothing is put between: the openai package's `output_text` joins the texts of a response so.
    return turn.model_copy(update={"steps": tuple(_joined([(step, "") for step in run]) for run in runs)})


def _is_of_response(before: Step, step: Step) -> bool:
    return step.origin == before.origin and step.origin in IN_PIECES and not has_own_results(before)


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
    """The calls that never ran, of messages in which two calls have one id, by position and index."""
    doubled = {fault.position for fault in faults if fault.kind == "duplicate_call_id"}
    steps = _by_position(step for step in turn.steps if step.position in doubled)
    return {(position, index) for position, step in steps.items() for index in aborted_twins(step)}


def _by_position(steps: Iterable[Step]) -> dict[int, Step]:
    """The first step at each position: one message may have been read as several steps."""
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
    """Whether the first text seems to be complete, so that the second does not continue it."""
    last, begin = first[-1], second[0]
    if last.isspace() or begin.isspace() or first.count("```") % 2 or first.count('"') % 2:
        return False
    if _LINE.match(second):
        return True
    if not (last in _ENDS or category(last) == "So"):  # So: an emoji, for one
        return False
    if begin.isdigit():
        return last != ":" and not (last == "." and first[-2:-1].isdigit())  # {"a":1}, 3.50
    return category(begin) in _BEGIN or begin in _OPENERS


_BEGIN = frozenset({"Lu", "Lt", "Lo", "So"})
"""Unicode categories of characters that begin a text: no lower case letters, and no signs like the slash of a URL."""
_OPENERS = frozenset("\"'([*_`\u201c\u2018\u00ab\u00bf\u00a1")


def _at(corrections: list[Correction], *actions: CorrectionAction) -> dict[int, list[Correction]]:
    """The corrections with one of these actions, by position: a turn may have thousands of them, and of steps."""
    at = dict[int, list[Correction]]()
    for correction in corrections:
        if correction.action in actions:
            at.setdefault(correction.position, []).append(correction)
    return at


def _edited(steps: list[Step], corrections: list[Correction]) -> list[Step]:
    at = _at(corrections, *_EDITS)
    # If several steps were read from one message, the first one is meant.
    return [_edited_step(step, at.pop(step.position, [])) for step in steps]


def _edited_step(step: Step, corrections: list[Correction]) -> Step:
    for action, edited in _EDITS.items() if corrections else ():
        indexes = [c.index for c in corrections if c.action == action and c.index is not None]
        if indexes:
            step = edited(step, indexes)
    return step


def _with_joins(steps: list[Step], corrections: list[Correction]) -> list[Step]:
    at = {position: iter(joins) for position, joins in _at(corrections, "join").items()}
    runs = list[list[tuple[Step, str]]]()
    for step in steps:
        join = next(at.get(step.position, iter(())), None) if runs else None
        if join is None:
            runs.append([(step, "")])
        else:
            runs[-1].append((step, join.separator))
    return [_joined(run) for run in runs]


def _with_calls(step: Step, calls: Iterable[StepToolCall]) -> Step:
    message, calls = step.message, tuple(calls)
    there = {call.index for call in calls}
    layout = tuple(mark for mark in message.layout if mark.call is None or mark.call in there)
    return step.model_copy(update={"message": message.model_copy(update={"tool_calls": calls, "layout": layout})})


def _without_calls(step: Step, indexes: Iterable[int]) -> Step:
    gone = set(indexes)
    results = tuple(result for result in step.tool_results if result.index not in gone)
    kept = _with_calls(step, (call for call in step.message.tool_calls if call.index not in gone))
    return kept.model_copy(update={"tool_results": results})


def _with_empty_arguments(step: Step, indexes: Iterable[int]) -> Step:
    emptied = set(indexes)
    return _with_calls(
        step,
        (
            call.model_copy(update={"arguments": "{}"}) if call.index in emptied else call
            for call in step.message.tool_calls
        ),
    )


def _answered(step: Step, indexes: Iterable[int]) -> Step:
    calls, results = {call.index: call for call in step.message.tool_calls}, step.results()
    for index in indexes:
        if index in calls and index not in results:  # a real result may have come since
            results[index] = _no_result(step, calls[index])
    return step.model_copy(update={"tool_results": tuple(results.values())})


def _no_result(step: Step, call: StepToolCall) -> ToolResult:
    return ToolResult(
        call_id=call.id,
        index=call.index,
        status="synthetic",
        content=NO_RESULT,
        position=step.position,
        at=step.ended_at or step.started_at,
        origin=step.origin,
    )


_EDITS: dict[CorrectionAction, Callable[[Step, Iterable[int]], Step]] = {
    "leave_out_call": _without_calls,
    "empty_arguments": _with_empty_arguments,
    "answer": _answered,
}
"""What is done to a step by itself, in this order."""


def _joined(run: Sequence[tuple[Step, str]]) -> Step:
    """The steps as one. With each goes what is put before its text."""
    first, said = run[0][0], [step.message for step, _ in run]
    if len(run) == 1:
        return first
    calls, results = list[StepToolCall](), list[ToolResult]()
    for step, _ in run:
        offset = calls[-1].index + 1 if calls else 0
        calls += (_moved(call, offset) for call in step.message.tool_calls)
        results += (result.model_copy(update={"index": result.index + offset}) for result in step.tool_results)
    functions = [message.function_call for message in said if message.function_call is not None]
    message = said[0].model_copy(
        update={
            "content": _joined_contents([(step.message.content, separator) for step, separator in run]),
            "refusal": joined_texts(message.refusal for message in said),
            "reasoning": joined_texts(message.reasoning for message in said),
            "reasoning_details": tuple(detail for message in said for detail in message.reasoning_details),
            "tool_calls": tuple(calls),
            "function_call": functions[-1] if functions else None,
            "layout": _joined_layout(said),
        }
    )
    in_order = tuple(sorted(results, key=lambda result: result.position))
    return first.model_copy(update={"message": message, "tool_results": in_order})


def _joined_layout(said: Sequence[StepMessage]) -> tuple[PartMark, ...]:
    """The marks of the messages as those of one. Each part has its text with it: what is put between texts is no part,
    and the content of the one message may be in blocks where that of another is not."""
    if not any(message.layout for message in said):
        return ()
    marks, calls = list[PartMark](), 0
    for message in said:
        marks += (
            PartMark(
                kind=part.kind,
                api=part.api,
                text=part.text,
                call=None if part.call is None else part.call + calls,
                data=part.data,
            )
            for part in message.parts
        )
        calls += message.tool_calls[-1].index + 1 if message.tool_calls else 0
    return tuple(marks)


def _joined_contents(contents: Sequence[tuple[Content | None, str]]) -> Content | None:
    # Beside an empty text there is nothing to separate.
    there = [(content, separator) for content, separator in contents if content]
    if not there:
        return contents[-1][0]
    texts_end = next((n for n, (content, _) in enumerate(there) if not isinstance(content, str)), len(there))
    separated = list[Content]()
    for number, (content, separator) in enumerate(there):
        separated += [separator, content] if 0 < number < texts_end else [content]
    return joined_contents(separated)


def _moved(call: StepToolCall, offset: int) -> StepToolCall:
    return call.model_copy(update={"index": call.index + offset})
