"""Diagnosis: what does not fit in a turn, as typed faults. Pure: the same turn has the same faults.

What turnlog itself records is filed by step and index and cannot be in the wrong order, so most rules are for imported
messages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise

from turnlog.domain.foreign import IN_PIECES, NAMELESS
from turnlog.domain.quoting import quoted
from turnlog.projections.arguments import is_object
from turnlog.projections.neighbours import beginnings, is_nothing_between, neighbours, repeated_attempts
from turnlog.projections.placeholders import is_placeholder
from turnlog.projections.turn import Fault, Step, StepToolCall, ToolResult, Turn

_NOT_FOLLOWED = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'"
)
_NO_CALL = "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
_UNIQUE = "`tool_use` ids must be unique"
_THINKING = "`thinking` blocks must remain as they were in the original response"

PROVIDER_ERRORS = {
    "split_assistant": "`tool_use` ids were found without `tool_result` blocks immediately after",
    "repeated_message": "two assistant messages in a row",
    "repeated_attempt": "tool call id is duplicated",
    "orphan_result": _NO_CALL,
    "unanswered_call": _NOT_FOLLOWED,
    "duplicate_call_id": _UNIQUE,
    "reused_call_id": _UNIQUE,
    "duplicate_result": "each tool_use must have a single result",
    "result_before_call": "unexpected `tool_use_id` found in `tool_result` blocks",
    "user_message_between": _NOT_FOLLOWED,
    "result_not_adjacent": _NOT_FOLLOWED,
    "split_results": "Expected toolResult blocks for the following Ids",
    "invalid_arguments": "function.arguments: arguments must be a valid JSON object string",
    "call_without_id": "tool_use.id: String should have at least 1 character",
    "call_without_name": "tool_calls[0].function.name: empty string. Expected a string with minimum length 1",
    "empty_message": "Invalid assistant message: content or tool_calls must be set",
    "empty_tool_calls": "[] is too short - 'messages.tool_calls'",
    "empty_text_block": "messages: text content blocks must be non-empty",
    "unknown_role": "messages.role: unknown role",
    "leading_assistant": 'messages: first message must use the "user" role',
    "consecutive_roles": 'messages: roles must alternate between "user" and "assistant"',
    "unsigned_thinking": _THINKING,
    "misplaced_thinking": _THINKING,
    "text_after_call": "`tool_use` ids were found without `tool_result` blocks immediately after",
    "result_not_first": "`tool_use` ids were found without `tool_result` blocks immediately after",
    "result_in_wrong_role": _NOT_FOLLOWED,
    "foreign_block": _UNIQUE,
    "bad_content_block": "Missing required parameter: 'messages.content.type'",
    "bad_field": "Invalid type for 'messages.content': expected one of a string or array of objects",
}
"""What a provider answers, in short, to a history with the fault. The texts are from bug reports about such faults."""


def diagnose(turn: Turn) -> tuple[Fault, ...]:
    """The faults of a turn as it was recorded, oldest first."""
    faults = [*turn.flaws, *_faulty_calls(turn)]
    if turn.orphans or any(m.origin for m in turn.messages) or any(step.origin for step in turn.steps):
        faults += _imported(turn)
    known = (fault.model_copy(update={"provider_error": PROVIDER_ERRORS.get(fault.kind, "")}) for fault in faults)
    return tuple(sorted(known, key=lambda fault: fault.position))


def _faulty_calls(turn: Turn) -> Iterator[Fault]:
    for step in turn.steps:
        # What was recorded here is what the model said: the prompt mends it, and the history has no fault.
        if step.origin is not None:
            for call in step.message.tool_calls:
                yield from _faulty_call(step, call)


def _faulty_call(step: Step, call: StepToolCall) -> Iterator[Fault]:
    if not call.name:
        yield _of_call("call_without_name", step, call, "a tool call has no name and cannot be sent")
    elif not call.id and step.origin not in NAMELESS:
        yield _of_call("call_without_id", step, call, f"the call of {quoted(call.name)} has no id")
    if call.custom:
        return
    if call.arguments and not is_object(call.arguments):
        yield _of_call("invalid_arguments", step, call, f"the arguments of {quoted(call.name)} are not a JSON object")
    elif not call.arguments:
        yield _of_call("invalid_arguments", step, call, f"the arguments of {quoted(call.name)} are empty")


def _of_call(kind: str, step: Step, call: StepToolCall, message: str) -> Fault:
    return Fault(kind=kind, position=step.position, index=call.index, message=message)


def _imported(turn: Turn) -> Iterator[Fault]:
    for orphan in turn.orphans:
        text = f"a result of the call {quoted(orphan.call_id)}, which no earlier message has made"
        yield Fault(kind="orphan_result", position=orphan.position, message=text)
    yield from _empty(turn)
    attempts = {step.step_id for step in repeated_attempts(turn)}
    steps = [step for step in turn.steps if step.origin and step.step_id not in attempts]
    yield from _neighbours(turn, steps)
    yield from _leading(turn)
    yield from _consecutive(turn)
    intruders = _intruders(turn, steps) if any(step.tool_results for step in steps) else []
    late = {flaw.position for flaw in turn.flaws if flaw.kind == "user_message_between"}
    for step in steps:
        yield from _unanswered(step)
        yield from _twins(step)
        yield from _misplaced(step, intruders, late)
    for step in turn.steps:
        if step.step_id in attempts:
            text = "the answer was made again with the same calls, and both attempts were stored"
            yield Fault(kind="repeated_attempt", position=step.position, message=text)


def _empty(turn: Turn) -> Iterator[Fault]:
    for step in turn.steps:
        if step.origin is not None and step.origin not in IN_PIECES and not step.says_something:
            yield Fault(kind="empty_message", position=step.position, message="an assistant message says nothing")
    for message in turn.messages:
        if message.origin and not message.content and message.role != "function":
            text = f"a {message.role} message is empty"
            yield Fault(kind="empty_message", position=message.position, message=text)


def _leading(turn: Turn) -> Iterator[Fault]:
    spoken = next((step for step in turn.steps if step.says_something), None) if turn.index == 0 else None
    if spoken is None or spoken.origin != "anthropic":
        return
    first = min((m.position for m in turn.messages if m.role in ("user", "function")), default=None)
    if first is None or first > spoken.position:
        text = "the conversation begins with an assistant message"
        yield Fault(kind="leading_assistant", position=spoken.position, message=text)


def _consecutive(turn: Turn) -> Iterator[Fault]:
    # Anthropic's API now joins consecutive user messages; Bedrock and others still refuse them.
    users = [m for m in turn.messages if m.role == "user" and m.origin == "anthropic" and m.content]
    if len(users) < 2:
        return  # as in nearly every turn
    spoken = [step.position for step in turn.steps if step.says_something]
    for first, second in pairwise(users):
        if is_nothing_between(spoken, first.position, second.position):
            text = f"two user messages follow each other (the first one is at {first.position})"
            yield Fault(kind="consecutive_roles", position=second.position, message=text)


def _neighbours(turn: Turn, steps: list[Step]) -> Iterator[Fault]:
    begun = beginnings(turn, steps)
    for position in begun:
        text = "the beginning of a reply was stored, and then the reply"
        yield Fault(kind="repeated_message", position=position, message=text)
    for first, second in neighbours(turn, [step for step in steps if step.position not in begun]):
        if first.origin == second.origin and first.origin in IN_PIECES:
            continue  # the items of one response
        if _is_same_reply(first, second):
            text = "the same reply was stored twice"
            yield Fault(kind="repeated_message", position=second.position, message=text)
        else:
            text = f"one assistant message was stored as two (the first part is at {first.position})"
            yield Fault(kind="split_assistant", position=second.position, message=text)


def _is_same_reply(first: Step, second: Step) -> bool:
    a, b = first.message, second.message
    if a.tool_calls or b.tool_calls:
        return False
    return (a.content, a.refusal, a.function_call) == (b.content, b.refusal, b.function_call)


def _unanswered(step: Step) -> Iterator[Fault]:
    for call in step.unanswered_calls():
        if call.name:
            yield _of_call(
                "unanswered_call", step, call, f"the call {quoted(call.id)} of {quoted(call.name)} has no result"
            )


def _twins(step: Step) -> Iterator[Fault]:
    before, results = dict[str, StepToolCall](), step.results()
    for call in step.message.tool_calls:
        if call.id and (twin := before.get(call.id)) is not None:
            text = f"two calls of one message have the id {quoted(call.id)}"
            yield _of_call("duplicate_call_id", step, _aborted_twin(results, twin, call) or call, text)
        before[call.id] = call


def _aborted_twin(results: dict[int, ToolResult], first: StepToolCall, second: StepToolCall) -> StepToolCall | None:
    """The one of two calls that never ran, if the other one did."""
    gone = [call for call in (first, second) if _never_ran(results.get(call.index))]
    return gone[0] if len(gone) == 1 else None


def aborted_twins(step: Step) -> set[int]:
    """The indexes of the calls that, by their results, never ran, while another call with the same id did."""
    results, calls = step.results(), step.message.tool_calls
    gone = {call.index for call in calls if _never_ran(results.get(call.index))}
    ran = {call.id for call in calls if call.index not in gone}
    return {call.index for call in calls if call.index in gone and call.id in ran}


def _never_ran(result: ToolResult | None) -> bool:
    return result is None or is_placeholder(result.content)


def _intruders(turn: Turn, steps: list[Step]) -> list[int]:
    """The positions, in order, of what does not belong between a call and its result: everything except results, and
    steps that are the second part of the step before them. `steps` are the imported ones.

    They are sorted because a turn can have thousands of calls and of intruders.
    """
    joined = {second.position for _, second in neighbours(turn, steps)}
    spoken = {step.position for step in turn.steps}
    others = {message.position for message in turn.messages} | {orphan.position for orphan in turn.orphans}
    unread = {flaw.position for flaw in turn.flaws if flaw.kind == "unknown_role"}
    return sorted((spoken - joined) | others | unread)


def _misplaced(step: Step, intruders: list[int], late: set[int]) -> Iterator[Fault]:
    """Results in the wrong position, except those at the positions `late`, for which there is a flaw already."""
    results = [result for result in step.tool_results if result.origin and result.status != "synthetic"]
    for result in results:
        if result.position < step.position:
            text = f"the result of {quoted(result.call_id)} comes before its call"
            yield Fault(kind="result_before_call", position=result.position, index=result.index, message=text)
        elif result.position not in late and _is_any_between(intruders, step.position, result.position):
            text = f"the result of {quoted(result.call_id)} does not come directly after its call"
            yield Fault(kind="result_not_adjacent", position=result.position, index=result.index, message=text)
    spread = sorted({result.position for result in results if result.position > step.position})
    if step.origin == "anthropic" and len(spread) > 1:
        text = "the results of one message are spread over several user messages"
        yield Fault(kind="split_results", position=spread[1], message=text)


def _is_any_between(positions: list[int], after: int, before: int) -> bool:
    """Whether any of the sorted positions is between these two."""
    return bisect_left(positions, before) > bisect_right(positions, after)
