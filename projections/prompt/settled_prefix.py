"""The chat prompt in two parts: the settled messages, which nothing that comes later changes, and the rest.

The second part can be made without the turns of the first, so the prompt of a long session, or of a turn of a thousand
steps, costs only what is new in it. The border is the beginning of a turn that stands alone, or of a segment of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from turnlog.projections.prompt.assembly import assemble
from turnlog.projections.prompt.chat import render_chat
from turnlog.projections.prompt.dialect import CHAT
from turnlog.projections.prompt.parts import sendable
from turnlog.projections.segments import whole_turns
from turnlog.projections.turn import Compaction, LateResult, Message, Step, Turn

ChatMessages = list[dict[str, Any]]


class Border(NamedTuple):
    """Where the settled part ends: before the page of this number, and in it before what came at `position`. The page
    may repeat what came before. At 0 nothing is settled."""

    page: int = 0
    position: int = 0


class SettledPrefix(NamedTuple):
    """`settled` are the messages before the border, `rest` those after it."""

    settled: ChatMessages
    border: Border
    rest: ChatMessages


def begin_prompt(segments: Sequence[Turn], closed: int, compaction: Compaction | None) -> SettledPrefix:
    """Both parts of the prompt of all turns, each of them in its segments, of which the first `closed` are closed."""
    border = border_of(segments, closed, compaction)
    if border.page == 0:
        return SettledPrefix([], border, _messages(segments, compaction, frozenset(), is_end=True))
    settled = _messages(segments[: border.page], compaction, frozenset(), is_end=False)
    rest = from_border(border.position, segments[border.page :])
    return SettledPrefix(settled, border, _messages(rest, None, call_ids(settled), is_end=True))


def continue_prompt(
    segments: Sequence[Turn], closed: int, compaction: Compaction | None, taken: frozenset[str], before: Border
) -> SettledPrefix | None:
    """The parts that follow settled messages which end at `before`; the segments are those from its page on.

    `closed` counts from the first of the session; `taken` are the call ids in the settled messages. The returned
    `settled` are only the messages that have become settled since. None where these turns depend on earlier ones, so
    that the prompt must begin anew.
    """
    if before.page == 0 or not segments:
        return None
    segments = from_border(before.position, segments)
    if not _begins_at(segments[0], before.position) or _is_within(before.position, compaction):
        return None
    border = border_of(segments, closed - before.page, compaction)
    settled = _messages(segments[: border.page], None, taken, is_end=False)
    after = from_border(border.position, segments[border.page :])
    rest = _messages(after, None, taken | call_ids(settled), is_end=True)
    now = Border(before.page + border.page, border.position) if border.page else before
    return SettledPrefix(settled, now, rest)


def call_ids(messages: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The ids of the tool calls in these messages."""
    return frozenset(call["id"] for message in messages for call in message.get("tool_calls", ()))


def _messages(
    segments: Sequence[Turn], compaction: Compaction | None, taken: frozenset[str], *, is_end: bool
) -> ChatMessages:
    entries = assemble(whole_turns(segments), CHAT, compaction, taken=taken, is_end=is_end)
    return [rendered.message for rendered in render_chat(entries)]


def from_border(position: int, segments: Sequence[Turn]) -> list[Turn]:
    """The segments without the messages before this position, which they only repeat."""
    return [
        segment.model_copy(update={"messages": tuple(one for one in segment.messages if one.position >= position)})
        if segment.messages and segment.messages[0].position < position
        else segment
        for segment in segments
    ]


def border_of(segments: Sequence[Turn], closed: int, compaction: Compaction | None) -> Border:
    """Before the last segment that stands alone and follows closed ones only."""
    for page in range(min(closed, len(segments) - 1), 0, -1):
        segment, before = segments[page], segments[page - 1]
        is_next = before.index == segment.index and bool(before.steps)
        first: Message | Step | LateResult | None = segment.steps[0] if is_next else _first_alone(segment)
        if first is not None and not _is_within(first.position, compaction):
            return Border(page, first.position)
    return Border()


def _is_within(position: int, compaction: Compaction | None) -> bool:
    return compaction is not None and compaction.upto >= position


def _first_alone(turn: Turn) -> Message | None:
    """The first message of a turn of which no message depends on earlier turns; None of any other.

    It begins with what a user said, so that no answer is joined to an earlier one. It has no legacy function result,
    whose call may be in an earlier turn.
    """
    entries = turn.entries()
    if not entries or any(message.role == "function" for message in turn.messages):
        return None
    first = entries[0]
    is_said = isinstance(first, Message) and first.role == "user" and sendable(first.content, "user")
    return first if is_said and isinstance(first, Message) else None


def _begins_at(segment: Turn, position: int) -> bool:
    """Whether the segment still begins as it did when it became the first that is not settled."""
    first = next(iter(segment.entries()), None)
    if first is None or first.position != position:
        return False
    return isinstance(first, Step) or _first_alone(segment) is first
