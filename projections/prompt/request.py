"""What some providers refuse of a whole request although its history is sound: for whoever is about to send it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.prompt import Api

REQUEST_FAULTS = {
    "no_messages": "messages: at least one message is required",
    "leading_assistant": "After the (optional) system message(s), user or tool message(s) should alternate with "
    "assistant message(s)",
    "trailing_assistant": "Expected last role User or Tool (or Assistant with prefix True) for serving but got "
    "assistant",
    "trailing_whitespace": "messages: final assistant content cannot end with trailing whitespace",
    "consecutive_roles": "Conversation roles must alternate user/assistant/user/assistant/...",
    "late_system": "System message must be at the beginning",
}
"""What a provider answers, in short. Sources: Anthropic (no_messages, trailing_whitespace), Perplexity and Mistral
behind the Chat Completions API, and the chat templates of open models (consecutive_roles, late_system)."""

_TEXTS = {
    "no_messages": "there is nothing to answer yet",
    "leading_assistant": "the assistant speaks first",
    "trailing_assistant": "the last message is the assistant's: it would be gone on with, or refused",
    "trailing_whitespace": "the last message ends in white space",
    "consecutive_roles": "two messages of the user stand side by side",
    "late_system": "a system message stands behind others",
}


class RequestFault(Frozen):
    """`message` is the place in the prompt, `text` a sentence for people, `provider_error` what is answered."""

    kind: Text
    message: int
    text: Text
    provider_error: Text


def request_faults(messages: Sequence[JsonObject], api: Api) -> tuple[RequestFault, ...]:
    """What some providers would refuse of these messages or items, in their order. No mending of the history helps:
    what is sent, and to whom, is the caller's to choose."""
    found = sorted((place, kind) for kind, place in _found(messages, api))
    return tuple(
        RequestFault(kind=kind, message=place, text=_TEXTS[kind], provider_error=REQUEST_FAULTS[kind])
        for place, kind in found
    )


Found = Iterator[tuple[str, int]]


def _found(messages: Sequence[JsonObject], api: Api) -> Found:
    spoken = [(place, one) for place, one in enumerate(messages) if one.get("role") not in ("system", "developer")]
    if not spoken:
        yield "no_messages", 0
        return
    place, last = spoken[-1]
    if last.get("role") == "assistant":
        yield "trailing_assistant", place
        if api == "anthropic" and _text(last) != _text(last).rstrip():
            yield "trailing_whitespace", place
    if api == "chat":
        yield from _of_templates(messages, spoken)


def _of_templates(
    messages: Sequence[JsonObject], spoken: Sequence[tuple[int, JsonObject]]
) -> Iterator[tuple[str, int]]:
    if spoken[0][1]["role"] == "assistant":
        yield "leading_assistant", spoken[0][0]
    for (_, first), (place, second) in pairwise(spoken):
        if first["role"] == second["role"] == "user":
            yield "consecutive_roles", place
    for place, one in enumerate(messages):
        if one["role"] in ("system", "developer") and place > spoken[0][0]:
            yield "late_system", place


def _text(message: JsonObject) -> str:
    """The text that the message ends in, if it ends in one."""
    content = message["content"]
    end = content[-1] if isinstance(content, list) else {"text": content}
    return str(end.get("text") or "")
