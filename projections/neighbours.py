"""Which steps of a turn stand next to each other, and what that says about imported ones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from turnlog.domain.foreign import IN_PIECES
from turnlog.projections.turn import Step, Turn

_NO_CHANCE = 20
"""A text of this many characters does not come twice in a row by chance."""


def neighbours(turn: Turn, steps: list[Step]) -> Iterator[tuple[Step, Step]]:
    """The pairs of these steps with nothing between them that a prompt could hold."""
    speaking = [step for step in steps if step.says_something]
    if len(speaking) < 2:
        return  # as in nearly every turn
    positions = positions_between(turn)
    for first, second in pairwise(speaking):
        if any(result.position < first.position for result in first.tool_results):
            continue  # its result was stored before it
        if is_nothing_between(positions, first.position, second.position) and not has_own_results(first):
            yield first, second


def has_own_results(step: Step) -> bool:
    """Whether results of the step came with it, in one message of another system: they stand behind it."""
    return step.origin is not None and any(result.position == step.position for result in step.tool_results)


def positions_between(turn: Turn) -> list[int]:
    """The positions of everything that can stand between two steps, in order."""
    return sorted(
        [message.position for message in turn.messages]
        + [result.position for step in turn.steps for result in step.tool_results if result.status != "synthetic"]
        + [orphan.position for orphan in turn.orphans]
    )


def is_nothing_between(positions: Sequence[int], first: int, second: int) -> bool:
    """Whether none of the sorted positions is after `first` and up to `second`."""
    return bisect_right(positions, first) == bisect_right(positions, second)


def beginnings(turn: Turn, steps: list[Step]) -> set[int]:
    """The positions of the steps that the next step contains whole: an answer that was stored while it grew."""
    return {first.position for first, second in neighbours(turn, steps) if _is_beginning(first, second)}


def _is_beginning(first: Step, second: Step) -> bool:
    a, b = first.message, second.message
    if not (isinstance(a.content, str) and isinstance(b.content, str)) or first.origin in IN_PIECES:
        return False
    if a.tool_calls or a.function_call or a.refusal or a.reasoning_details:
        return False
    if a.content == b.content:
        return bool(b.tool_calls or b.function_call or b.refusal or b.reasoning_details)
    # A short text may begin its own continuation by chance: "s" and "sh" may well be "ssh".
    return len(a.content) >= _NO_CHANCE and b.content.startswith(a.content)


def repeated_attempts(turn: Turn) -> Iterator[Step]:
    """The steps whose calls were all made again, under the same ids, by the next step."""
    for first, second in neighbours(turn, [step for step in turn.steps if step.origin]):
        ids = {call.id for call in first.message.tool_calls if call.id}
        if ids and not first.tool_results and ids <= {call.id for call in second.message.tool_calls}:
            yield first
