"""Segments: a turn of many steps in parts, each of which is a turn by itself.

A segment has a run of the steps of its turn, and what came between them. Before them it repeats what the turn began
with, its *question*, so that it can be read without the segments before it, and found by the ids of those messages. It
also has the first and the latest run that the turn had had by then. What several segments have is told by its position,
and so the segments together are the turn.

A turn is cut only where nothing before the cut is still due, and where nothing after it is joined with what is before:
after a finished step whose calls all have their final results. Of a step before that a result may still be pending:
when it comes, that page is changed, as that of a closed turn is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol, TypeVar

from turnlog.projections.turn import Message, Step, Turn

SEGMENT_STEPS = 64
"""Most steps of a segment, if the turn can be cut behind them."""
SEGMENT_BYTES = 4 * 1024
"""About the size from which on a segment is a page of its own. Whoever changes either changes what is kept, and raises
`VIEW_SCHEMA`."""


class _Placed(Protocol):
    @property
    def position(self) -> int: ...


P = TypeVar("P", bound=_Placed)


def whole_turns(segments: Iterable[Turn]) -> list[Turn]:
    """The turns that these segments are of, as far as the segments are there."""
    groups = (list(group) for _, group in groupby(segments, key=attrgetter("index")))
    return [group[0] if len(group) == 1 else joined(group) for group in groups]


def joined(segments: Sequence[Turn]) -> Turn:
    """The segments of one turn, which follow each other, as one."""
    last = segments[-1]
    return last.model_copy(
        update={
            "position": max(segment.position for segment in segments),
            "turn_id": next((segment.turn_id for segment in reversed(segments) if segment.turn_id), None),
            "messages": _once(message for segment in segments for message in segment.messages),
            "runs": _once(run for segment in segments for run in segment.runs),
            **{
                field: tuple(one for segment in segments for one in getattr(segment, field))
                for field in ("steps", "late_results", "usage_reports", "orphans", "flaws", "repairs")
            },
        }
    )


def _once(several: Iterable[P]) -> tuple[P, ...]:
    """Each of them as it was said last, in the order of the log."""
    by_position = {one.position: one for one in several}
    return tuple(by_position[position] for position in sorted(by_position))


def question_of(messages: Iterable[Message], first_step: int) -> tuple[Message, ...]:
    """What the user said before the first step of the turn, which is at this position."""
    return tuple(one for one in messages if one.role == "user" and one.position < first_step)


def can_be_cut_after(step: Step) -> bool:
    """Whether what follows the step stands by itself: it is finished, and has calls with results, which stand between
    its message and whatever follows."""
    message = step.message
    return (
        step.status == "finished"
        and step.origin is None
        and message.function_call is None
        and not step.is_paused
        and any(call.name and not call.cut_off for call in message.tool_calls)
    )


def size_of(message: Message) -> int:
    """About the bytes of a message."""
    return _length(message.content)


def size_of_step(step: Step) -> int:
    """About the bytes of a step with its results."""
    said = step.message
    return (
        _length(said.content)
        + len(said.reasoning or "")
        + sum(len(call.arguments) for call in said.tool_calls)
        + sum(_length(result.content) for result in step.tool_results)
        + sum(len(str(detail)) for detail in said.reasoning_details)
    )


def _length(content: object) -> int:
    return 0 if content is None else len(content if isinstance(content, str) else str(content))
