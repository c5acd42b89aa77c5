"""A prompt in two parts: the settled messages, which nothing that comes later changes, and the rest.

The second part can be made without the turns of the first, so the prompt of a long session, or of a turn of a thousand
steps, costs only what is new in it. The border is the beginning of a turn that stands alone, or of a segment of one.

Anthropic's messages alternate, so what a user says next may be joined to the last message before the border. That one
is not settled: it is `joinable`, and the rest begins with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from turnlog.projections.prompt import Api, how_to_make
from turnlog.projections.prompt.assembly import assemble
from turnlog.projections.prompt.entries import PromptStep, Rendered, last_spoken
from turnlog.projections.prompt.parts import sendable
from turnlog.projections.segments import whole_turns
from turnlog.projections.turn import Compaction, LateResult, Message, Step, Turn

Messages = list[dict[str, Any]]


class Border(NamedTuple):
    """Where the settled part ends: before the page of this number, and in it before what came at `position`. The page
    may repeat what came before. At 0 nothing is settled."""

    page: int = 0
    position: int = 0


class SettledPrefix(NamedTuple):
    """`settled` are the messages before the border, but for those that are `joinable`; `rest` are those that follow
    the settled ones."""

    settled: Messages
    joinable: Messages
    border: Border
    rest: Messages


def begin_prompt(
    segments: Sequence[Turn], closed: int, compaction: Compaction | None, api: Api = "chat"
) -> SettledPrefix:
    """Both parts of the prompt of all turns, each of them in its segments, of which the first `closed` are closed."""
    border = border_of(segments, closed, compaction)
    made = _Made(api, frozenset(), [])
    if border.page:
        made.add_settled(segments[: border.page], compaction)
        segments, compaction = from_border(border.position, segments[border.page :]), None
    return made.prefix(border, segments, compaction)


def continue_prompt(
    segments: Sequence[Turn],
    closed: int,
    compaction: Compaction | None,
    taken: frozenset[str],
    before: Border,
    api: Api = "chat",
    joinable: Messages | None = None,
) -> SettledPrefix | None:
    """The parts that follow settled messages which end at `before`; the segments are those from its page on.

    `closed` counts from the first of the session; `taken` are the call ids in the messages before the border, of which
    the last are `joinable`. The returned `settled` are only the messages that have become settled since. None where
    these turns depend on earlier ones, so that the prompt must begin anew.
    """
    if before.page == 0 or not segments:
        return None
    segments = from_border(before.position, segments)
    if not _begins_at(segments[0], before.position) or _is_within(before.position, compaction):
        return None
    border = border_of(segments, closed - before.page, compaction)
    made = _Made(api, taken, joinable or [])
    if border.page:
        made.add_settled(segments[: border.page], None)
        segments = from_border(border.position, segments[border.page :])
    now = Border(before.page + border.page, border.position) if border.page else before
    return made.prefix(now, segments, None)


def sent(messages: Messages, api: Api) -> Any:
    """What is sent of an API's messages: they themselves, or for anthropic a dict."""
    if api != "anthropic":
        return messages
    return how_to_make(api).finish([Rendered(message, -1, ()) for message in messages])


def call_ids(messages: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The ids of the tool calls in these messages, or items, of any API."""
    return frozenset(call_id for message in messages for call_id in _call_ids(message))


def _call_ids(message: dict[str, Any]) -> Iterable[str]:
    for call in message.get("tool_calls", ()):
        yield call["id"]
    if message.get("type") in ("function_call", "custom_tool_call"):
        yield message["call_id"]
    if message.get("role") == "assistant" and isinstance(blocks := message.get("content"), list):
        yield from (block["id"] for block in blocks if block.get("type") == "tool_use")


class _Made:
    """Makes the messages of a prompt, behind settled ones that have the call ids `taken`."""

    def __init__(self, api: Api, taken: frozenset[str], joinable: Messages) -> None:
        self._dialect, self._render, _ = how_to_make(api)
        self._joins = api == "anthropic"
        self._taken = taken
        self._settled: list[Rendered] = []
        self._joinable = [Rendered(message, -1, ()) for message in joinable]

    def add_settled(self, segments: Sequence[Turn], compaction: Compaction | None) -> None:
        """The messages of these segments are settled, but for what may be joined to what follows."""
        entries = assemble(whole_turns(segments), self._dialect, compaction, taken=self._taken, is_end=False)
        if entries and isinstance(last := entries[-1], PromptStep) and last.paused:
            entries[-1] = replace(last, paused=False)  # something follows
        rendered = self._render(entries, [*self._joinable])
        spoken = last_spoken(rendered) if self._joins else None
        end = len(rendered) if spoken is None else spoken
        self._settled, self._joinable = rendered[:end], rendered[end:]
        self._taken |= call_ids(one.message for one in rendered)

    def prefix(self, border: Border, segments: Sequence[Turn], compaction: Compaction | None) -> SettledPrefix:
        """All of it, with the messages of the segments that are not settled."""
        entries = assemble(whole_turns(segments), self._dialect, compaction, taken=self._taken)
        rest = self._render(entries, [*self._joinable])
        return SettledPrefix(_messages(self._settled), _messages(self._joinable), border, _messages(rest))


def _messages(rendered: Iterable[Rendered]) -> Messages:
    return [one.message for one in rendered]


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
