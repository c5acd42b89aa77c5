"""Why a prompt is as it is: the events behind each message, and where a prompt no longer began as the one before it.

Providers bill a prefix that they have cached at a tenth, so a prompt should begin as the one before it did. It does,
but after: a tool result that replaces the one that was sent for it, an imported message, a repair or its withdrawal, a
compaction, a new system message where the API has them apart, and a step that goes on after something followed it or
begins right behind another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from turnlog.domain.events import FunctionCallDelta, ReasoningDelta, RefusalDelta, TextDelta, ToolCallArgumentsDelta
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import APIS, Api
from turnlog.projections.prompt.assembly import assemble

_DELTAS = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallArgumentsDelta, FunctionCallDelta)


class ExplainedMessage(Frozen):
    """A message of the prompt and the positions of the events that it began with and was answered by."""

    message: JsonObject
    positions: tuple[int, ...]


class PrefixBreak(Frozen):
    """The prompt after the event at `position` has another message at the place `message` than the one before."""

    position: int
    topic: Text
    message: int


class Explanation(Frozen):
    """Of the prompt for one API."""

    messages: tuple[ExplainedMessage, ...]
    breaks: tuple[PrefixBreak, ...]


def explain(projector: Projector, events: Iterable[RecordedEvent], api: Api) -> Explanation:
    """Explains the prompt after these events. `projector` is a new one."""
    breaks: list[PrefixBreak] = []
    before: list[JsonObject] = []
    messages: list[ExplainedMessage] = []
    for event in events:
        projector.apply(event)
        if isinstance(event.event, _DELTAS):
            continue
        messages = _messages(projector, api)
        now = [explained.message for explained in messages]
        if (place := _first_other(before, now)) is not None:
            breaks.append(PrefixBreak(position=event.position, topic=event.topic, message=place))
        before = now
    return Explanation(messages=tuple(messages), breaks=tuple(breaks))


def _messages(projector: Projector, api: Api) -> list[ExplainedMessage]:
    view = projector.view()
    rendered = APIS[api].render(assemble(view.turns, APIS[api].dialect, view.compaction))
    return [ExplainedMessage(message=one.message, positions=one.positions) for one in rendered]


def _first_other(before: list[JsonObject], now: list[JsonObject]) -> int | None:
    for place, message in enumerate(before):
        if place >= len(now) or not _begins(message, now[place]):
            return place
    return None


def _begins(message: Any, later: Any) -> bool:
    """Whether the later message is the same, or has blocks more: consecutive user messages are one for Anthropic."""
    if message == later:
        return True
    first, second = message.get("content"), later.get("content")
    is_longer = isinstance(first, list) and isinstance(second, list) and second[: len(first)] == first
    return is_longer and message["role"] == later["role"]
