"""Why a prompt is as it is: the events that each message was made from, and where a prompt no longer began as the one
before it.

Providers bill a cached prefix at a tenth, so a prompt should begin with the very bytes of the one before it. It does,
except after an event of the kinds that `BREAKS` names. A prompt that ends with calls whose results are missing does not
count: nobody sends it.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from turnlog.domain.events import (
    FRAGMENTS,
    STEP_DELTAS,
    ApprovalRequested,
    ContextCompacted,
    MessageAdded,
    MessageImported,
    RepairWithdrawn,
    SessionEvent,
    SessionRepaired,
    ToolResultAdded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.prompt import Api, DialectName
from turnlog.projections.prompt.entries import Rendered
from turnlog.projections.prompt.request import RequestFault, request_faults
from turnlog.projections.prompt.rewindable_prompt import RewindablePrompt

BREAKS: dict[str, str] = {
    "late_result": "a result replaced the one that was sent for its call",
    "import": "an imported message belongs to what was before it",
    "repair": "the history was repaired, or a repair was withdrawn",
    "compaction": "a summary replaced what it sums up",
    "system_message": "the API has system messages apart, before all others",
    "turn": "a turn has begun, so what is queued waits, and an answer that broke off is made again; or it has ended",
    "tool": "a tool was started, or somebody was asked about it, for a call that something had followed",
    "step": "a step went on after something had followed it, or began directly after another one",
}
"""Why a prompt may no longer begin as the one before it."""


class ExplainedMessage(Frozen):
    """A message of the prompt, and the positions of the events that opened it and answered it."""

    message: JsonObject
    positions: tuple[int, ...]


class PrefixBreak(Frozen):
    """The prompt after the event at `position` differs from the one before it, first at the index `message`. `reason`
    is one of `BREAKS`."""

    position: int
    topic: Text
    reason: Text
    message: int


class Explanation(Frozen):
    """The explanation of the prompt for one API. `request_faults`: what some providers refuse about it, although the
    history is sound."""

    messages: tuple[ExplainedMessage, ...]
    breaks: tuple[PrefixBreak, ...]
    request_faults: tuple[RequestFault, ...] = ()


def explain(
    session_id: UUID, events: Iterable[RecordedEvent], api: Api, dialect: DialectName | None = None
) -> Explanation:
    """Explains the prompt after these events, which are all events of the session."""
    breaks: list[PrefixBreak] = []
    prompt = RewindablePrompt(session_id, api, dialect)
    before: list[Rendered] = []
    for event in events:
        prompt.apply(event)
        if isinstance(event.event, FRAGMENTS) or prompt.clearly_waits():
            continue  # nobody sends a prompt then
        if isinstance(event.event, STEP_DELTAS) and prompt.is_at_end(event.event.step_id):
            continue  # an open step at the end is not sent
        if not prompt.select() or prompt.is_waiting() or prompt.update():
            continue
        if (index := _first_difference(before, prompt, api)) is not None:
            reason = _reason(event.event)
            breaks.append(PrefixBreak(position=event.position, topic=event.topic, reason=reason, message=index))
        before[prompt.unchanged :] = prompt.messages[prompt.unchanged :]
        prompt.unchanged = len(prompt.messages)
    prompt.select()
    prompt.update()
    messages = tuple(ExplainedMessage(message=m.message, positions=m.positions) for m in _sent(prompt.messages, api))
    faults = request_faults([one.message for one in messages], api, dialect)
    return Explanation(messages=messages, breaks=tuple(breaks), request_faults=faults)


def _sent(rendered: list[Rendered], api: Api) -> list[Rendered]:
    """The messages in the order in which the API has them: Anthropic's has all system text first."""
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
        case TurnStarted() | TurnEnded():
            return "turn"
        case ToolStarted() | ApprovalRequested():
            return "tool"
        case MessageAdded(role="system" | "developer"):
            return "system_message"
        case _:
            return "step"


def _first_difference(before: list[Rendered], prompt: RewindablePrompt, api: Api) -> int | None:
    now, unchanged = prompt.messages, prompt.unchanged
    if api == "anthropic" and not all(map(_is_spoken, before[unchanged:] + now[unchanged:])):
        before, now, unchanged = _sent(before, api), _sent(now, api), 0  # a system message moves those after it
    for index in range(unchanged, len(before)):
        message, is_last = before[index].message, index == len(before) - 1
        is_there = index < len(now) and (
            message == now[index].message or (is_last and _goes_on(message, now[index].message))
        )
        if not is_there:
            return index
    return None


def _goes_on(message: JsonObject, later: JsonObject) -> bool:
    """Whether `later` has the blocks of the message and more: for Anthropic, and some providers of chat messages,
    consecutive user messages are one."""
    first, second = message.get("content"), later.get("content")
    if isinstance(first, str) and isinstance(second, str):
        return message["role"] == later["role"] == "user" and second.startswith(f"{first}\n\n")
    is_longer = isinstance(first, list) and isinstance(second, list) and second[: len(first)] == first
    return is_longer and message["role"] == later["role"]
