"""The chat prompt in two parts: the messages of closed turns, which later ones only follow, and the rest.

The parts of a prompt can be made one after the other, so that the prompt of a long session costs what is new in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from turnlog.projections.prompt.assembly import CHAT, assemble, is_sendable
from turnlog.projections.prompt.chat import render_chat
from turnlog.projections.turn import Compaction, Message, Turn

ChatMessages = list[dict[str, Any]]


class SettledPrefix(NamedTuple):
    """`settled` are the messages of the turns up to `turns` (not included), `rest` those of the turns from there on."""

    settled: ChatMessages
    turns: int
    rest: ChatMessages


def begin_prompt(turns: Sequence[Turn], closed: int, compaction: Compaction | None) -> SettledPrefix:
    """The parts of the prompt of all turns, of which `closed` are closed."""
    border = _border(turns, closed, compaction)
    settled = _rendered(turns[:border], compaction, frozenset(), is_end=False)
    if border == 0:
        return SettledPrefix([], 0, _rendered(turns, compaction, frozenset(), is_end=True))
    return SettledPrefix(settled, border, _rendered(turns[border:], None, call_ids(settled), is_end=True))


def continue_prompt(
    turns: Sequence[Turn], closed: int, compaction: Compaction | None, taken: frozenset[str]
) -> SettledPrefix | None:
    """The parts behind a settled one that ended before the first of these turns. `taken`: the call ids in it.

    None where these turns no longer go by themselves: all have to be looked at again.
    """
    if not turns or turns[0].index == 0 or not _stands_alone(turns[0], compaction):
        return None
    border = _border(turns, closed - turns[0].index, compaction)
    settled = _rendered(turns[:border], None, taken, is_end=False)
    rest = _rendered(turns[border:], None, taken | call_ids(settled), is_end=True)
    return SettledPrefix(settled, turns[0].index + border, rest)


def call_ids(messages: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The ids of the tool calls in these messages."""
    return frozenset(call["id"] for message in messages for call in message.get("tool_calls", ()))


def _rendered(
    turns: Sequence[Turn], compaction: Compaction | None, taken: frozenset[str], *, is_end: bool
) -> ChatMessages:
    entries = assemble(turns, CHAT, compaction, taken=taken, is_end=is_end)
    return [rendered.message for rendered in render_chat(entries)]


def _border(turns: Sequence[Turn], closed: int, compaction: Compaction | None) -> int:
    """The place of the last turn that stands alone behind closed ones; 0 where there is none."""
    places = range(min(closed, len(turns) - 1), 0, -1)
    return next((place for place in places if _stands_alone(turns[place], compaction)), 0)


def _stands_alone(turn: Turn, compaction: Compaction | None) -> bool:
    """Whether nothing in the turn depends on the messages before it: it begins with what a user said, so that no answer
    is joined to one before, and has no legacy function result, whose call may be before."""
    entries = turn.entries()
    if not entries or any(message.role == "function" for message in turn.messages):
        return False
    first = entries[0]
    is_summed_up = compaction is not None and compaction.upto >= first.position
    return isinstance(first, Message) and first.role == "user" and is_sendable(first) and not is_summed_up
