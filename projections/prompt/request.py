"""What makes some providers refuse a whole request although its history is sound, for whoever is about to send it."""

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
"""What a provider answers, in short. Sources: Anthropic (no_messages, trailing_whitespace), Perplexity and Mistral by
their Chat Completions APIs, and the chat templates of open models (consecutive_roles, late_system)."""

_TEXTS = {
    "no_messages": "there is nothing to answer yet",
    "leading_assistant": "the assistant speaks first",
    "trailing_assistant": "the last message is the assistant's: it would be continued, or refused",
    "trailing_whitespace": "the last message ends in white space",
    "consecutive_roles": "two user messages follow each other",
    "late_system": "a system message comes after others",
}


class RequestFault(Frozen):
    """`message` is an index in the prompt, `text` a sentence for people, `provider_error` what a provider answers."""

    kind: Text
    message: int
    text: Text
    provider_error: Text


def request_faults(messages: Sequence[JsonObject], api: Api) -> tuple[RequestFault, ...]:
    """What some providers would refuse about these messages or items, in their order. It does not help to mend the
    history: the caller chooses what to send, and to whom."""
    return tuple(
        RequestFault(kind=kind, message=index, text=_TEXTS[kind], provider_error=REQUEST_FAULTS[kind])
        for index, kind in sorted(_found(messages, api))
    )


Found = Iterator[tuple[int, str]]
"""Indexes of messages, and the kinds of fault there."""


def _found(messages: Sequence[JsonObject], api: Api) -> Found:
    spoken = [(index, one) for index, one in enumerate(messages) if one.get("role") not in ("system", "developer")]
    if not spoken:
        yield 0, "no_messages"
        return
    index, last = spoken[-1]
    if last.get("role") == "assistant":
        yield index, "trailing_assistant"
        if api == "anthropic" and _last_text(last) != _last_text(last).rstrip():
            yield index, "trailing_whitespace"
    if api == "chat":
        yield from _of_templates(messages, spoken)


def _of_templates(messages: Sequence[JsonObject], spoken: Sequence[tuple[int, JsonObject]]) -> Found:
    if spoken[0][1]["role"] == "assistant":
        yield spoken[0][0], "leading_assistant"
    for (_, first), (index, second) in pairwise(spoken):
        if first["role"] == second["role"] == "user":
            yield index, "consecutive_roles"
    for index, one in enumerate(messages):
        if one["role"] in ("system", "developer") and index > spoken[0][0]:
            yield index, "late_system"


def _last_text(message: JsonObject) -> str:
    """The text that ends the message; the empty one if it does not end in a text."""
    content = message["content"]
    end = content[-1] if isinstance(content, list) else {"text": content}
    return str(end.get("text") or "")
