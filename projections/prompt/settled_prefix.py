"""The chat prompt in two parts: the settled messages of closed turns, which no later turn changes, and the rest.

The second part can be made without the turns of the first, so the prompt of a long session costs only what is new in
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from turnlog.projections.prompt.assembly import assemble
from turnlog.projections.prompt.chat import render_chat
from turnlog.projections.prompt.dialect import CHAT
from turnlog.projections.prompt.parts import sendable
from turnlog.projections.turn import Compaction, Message, Turn

ChatMessages = list[dict[str, Any]]


class SettledPrefix(NamedTuple):
    """`settled` are the messages of the turns before the index `turns`, `rest` those of the turns from there on."""

    settled: ChatMessages
    turns: int
    rest: ChatMessages


def begin_prompt(turns: Sequence[Turn], closed: int, compaction: Compaction | None) -> SettledPrefix:
    """Both parts of the prompt of all turns, of which the first `closed` are closed."""
    border = _border(turns, closed, compaction)
    if border == 0:
        return SettledPrefix([], 0, _messages(turns, compaction, frozenset(), is_end=True))
    settled = _messages(turns[:border], compaction, frozenset(), is_end=False)
    return SettledPrefix(settled, border, _messages(turns[border:], None, call_ids(settled), is_end=True))


def continue_prompt(
    turns: Sequence[Turn], closed: int, compaction: Compaction | None, taken: frozenset[str]
) -> SettledPrefix | None:
    """The parts that follow settled messages which end before the first of these turns.

    `closed` counts from the first turn of the session; `taken` are the call ids in the settled messages. The returned
    `settled` are only the messages that have become settled since. None where these turns depend on earlier ones, so
    that the prompt must begin anew.
    """
    if not turns or turns[0].index == 0 or not _stands_alone(turns[0], compaction):
        return None
    border = _border(turns, closed - turns[0].index, compaction)
    settled = _messages(turns[:border], None, taken, is_end=False)
    rest = _messages(turns[border:], None, taken | call_ids(settled), is_end=True)
    return SettledPrefix(settled, turns[0].index + border, rest)


def call_ids(messages: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The ids of the tool calls in these messages."""
    return frozenset(call["id"] for message in messages for call in message.get("tool_calls", ()))


def _messages(
    turns: Sequence[Turn], compaction: Compaction | None, taken: frozenset[str], *, is_end: bool
) -> ChatMessages:
    entries = assemble(turns, CHAT, compaction, taken=taken, is_end=is_end)
    return [rendered.message for rendered in render_chat(entries)]


def _border(turns: Sequence[Turn], closed: int, compaction: Compaction | None) -> int:
    """The index of the last turn that stands alone and follows closed turns only; 0 if there is none."""
    candidates = range(min(closed, len(turns) - 1), 0, -1)
    return next((index for index in candidates if _stands_alone(turns[index], compaction)), 0)


def _stands_alone(turn: Turn, compaction: Compaction | None) -> bool:
    """Whether no message of the turn depends on earlier turns.

    It begins with what a user said, so that no answer is joined to an earlier one. It has no legacy function result,
    whose call may be in an earlier turn.
    """
    entries = turn.entries()
    if not entries or any(message.role == "function" for message in turn.messages):
        return False
    first = entries[0]
    if not isinstance(first, Message) or first.role != "user" or not sendable(first.content, "user"):
        return False
    return compaction is None or compaction.upto < first.position
