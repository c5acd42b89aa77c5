"""Why a prompt is as it is: the events behind each message, and where a prompt no longer began as the one before it.

Providers bill a prefix that they have cached at a tenth, so a prompt should begin as the one before it did, byte for
byte. It does, but after an event of the kinds that `BREAKS` names. A prompt that ends with calls whose results are
still to come is not counted: nobody sends it.
"""

from __future__ import annotations

from collections.abc import Iterable

from turnlog.domain.events import (
    FRAGMENTS,
    ContextCompacted,
    MessageAdded,
    MessageImported,
    RepairWithdrawn,
    SessionEvent,
    SessionRepaired,
    ToolResultAdded,
)
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api
from turnlog.projections.prompt.entries import Rendered
from turnlog.projections.prompt.request import RequestFault, request_faults
from turnlog.projections.prompt.rewindable_prompt import RewindablePrompt

BREAKS: dict[str, str] = {
    "late_result": "a result replaced the one that was sent for its call",
    "import": "an imported message belongs to what was before it",
    "repair": "the history was repaired, or a repair was withdrawn",
    "compaction": "a summary took the place of what it sums up",
    "system_message": "the API has system messages apart, in front of all others",
    "step": "a step went on after something had followed it, or began right behind another one",
}
"""Why a prompt may no longer begin as the one before it."""


class ExplainedMessage(Frozen):
    """A message of the prompt and the positions of the events that it began with and was answered by."""

    message: JsonObject
    positions: tuple[int, ...]


class PrefixBreak(Frozen):
    """The prompt after the event at `position` has another message at the place `message` than the one before.
    `reason` is one of `BREAKS`."""

    position: int
    topic: Text
    reason: Text
    message: int


class Explanation(Frozen):
    """Of the prompt for one API. `request_faults`: what some providers refuse of it, however sound the history is."""

    messages: tuple[ExplainedMessage, ...]
    breaks: tuple[PrefixBreak, ...]
    request_faults: tuple[RequestFault, ...] = ()


def explain(projector: Projector, events: Iterable[RecordedEvent], api: Api) -> Explanation:
    """Explains the prompt after these events. `projector` is a new one."""
    breaks: list[PrefixBreak] = []
    prompt = RewindablePrompt(projector, api)
    before: list[Rendered] = []
    for event in events:
        projector.apply(event)
        if isinstance(event.event, FRAGMENTS) or not prompt.look() or prompt.is_waiting() or prompt.update():
            continue
        if (place := _first_other(before, prompt, api)) is not None:
            reason = _reason(event.event)
            breaks.append(PrefixBreak(position=event.position, topic=event.topic, reason=reason, message=place))
        before, prompt.same = prompt.messages.copy(), len(prompt.messages)
    prompt.look()
    prompt.update()
    messages = tuple(ExplainedMessage(message=m.message, positions=m.positions) for m in _sent(prompt.messages, api))
    faults = request_faults([one.message for one in messages], api)
    return Explanation(messages=messages, breaks=tuple(breaks), request_faults=faults)


def _sent(rendered: list[Rendered], api: Api) -> list[Rendered]:
    """The messages as the API has them: Anthropic's has the system's text in front, wherever it was said."""
    return sorted(rendered, key=_is_spoken) if api == "anthropic" else rendered


def _is_spoken(rendered: Rendered) -> bool:
    return rendered.message.get("role") != "system"


def _reason(event: SessionEvent) -> str:
    match event:
        case ToolResultAdded():
            return "late_result"
        case MessageImported():
            return "import"
        case SessionRepaired() | RepairWithdrawn():
            return "repair"
        case ContextCompacted():
            return "compaction"
        case MessageAdded(role="system" | "developer"):
            return "system_message"
        case _:
            return "step"


def _first_other(before: list[Rendered], prompt: RewindablePrompt, api: Api) -> int | None:
    now, same = prompt.messages, prompt.same
    if api == "anthropic" and not all(map(_is_spoken, before[same:] + now[same:])):
        before, now, same = _sent(before, api), _sent(now, api), 0  # what is behind them has moved
    for place in range(same, len(before)):
        message, is_last = before[place].message, place == len(before) - 1
        is_there = place < len(now) and (
            message == now[place].message or (is_last and _goes_on(message, now[place].message))
        )
        if not is_there:
            return place
    return None


def _goes_on(message: JsonObject, later: JsonObject) -> bool:
    """Whether the later message has blocks more: consecutive messages of a user are one for Anthropic."""
    first, second = message.get("content"), later.get("content")
    is_longer = isinstance(first, list) and isinstance(second, list) and second[: len(first)] == first
    return is_longer and message["role"] == later["role"]
