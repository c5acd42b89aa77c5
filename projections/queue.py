"""Queued messages: those that were sent while a turn was under way, and that the model has not seen yet."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from turnlog.projections.turn import Step, Turn


def mark_queued(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns with the queued messages marked: those that came after the last step began, if that is still open or
    has finished with unanswered calls; and those of turns that are queued. A later prompt has them after that step and
    its results."""
    last = next((turn.steps[-1] for turn in reversed(turns) if turn.steps), None)
    after = last.position if last is not None and _is_waited_for(last) else sys.maxsize
    return tuple(_marked(turn, 0 if turn.is_queued else after) for turn in turns)


def _is_waited_for(step: Step) -> bool:
    has_calls = step.status == "finished" and step.origin is None and bool(step.unanswered_calls())
    return step.status == "open" or has_calls


def _marked(turn: Turn, after: int) -> Turn:
    if not turn.messages or turn.messages[-1].position < after:
        return turn
    messages = tuple(
        message.model_copy(update={"queued": True}) if message.position > after else message
        for message in turn.messages
    )
    return turn.model_copy(update={"messages": messages})
