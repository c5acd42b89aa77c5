"""What makes some providers refuse a whole request although its history is sound, for whoever is about to send it."""

from __future__ import annotations

from collections.abc import Sequence

from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.prompt import Api, DialectName
from turnlog.projections.prompt.chat_faults import CHAT_FAULTS, Fault, chat_faults
from turnlog.projections.prompt.dialects import DIALECTS, chat_dialect

_FAULTS = {
    "no_messages": Fault("there is nothing to answer yet", "messages: at least one message is required"),
    "trailing_assistant": Fault(
        "the last message is the assistant's: it would be continued, or refused",
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
    ),
    "trailing_whitespace": Fault(
        "the last message ends in white space", "messages: final assistant content cannot end with trailing whitespace"
    ),
    **CHAT_FAULTS,
}
REQUEST_FAULTS = {kind: fault.provider_error for kind, fault in _FAULTS.items()}
"""What a provider answers, in short. Sources: Anthropic (no_messages, trailing_whitespace), Mistral and Perplexity
(trailing_assistant), and those of the rows in `DIALECTS`."""


class RequestFault(Frozen):
    """`message` is an index in the prompt, `text` a sentence for people, `provider_error` what a provider answers.

    `dialects` are the providers behind the Chat Completions API that refuse it; none where it is not theirs alone.
    """

    kind: Text
    message: int
    text: Text
    provider_error: Text
    dialects: tuple[str, ...] = ()


def request_faults(
    messages: Sequence[JsonObject], api: Api, dialect: DialectName | None = None
) -> tuple[RequestFault, ...]:
    """What some providers would refuse about these messages or items, in their order; of the chat prompt, what the one
    that is named would. It does not help to mend the history: the caller chooses what to send, and to whom."""
    found: dict[tuple[int, str], list[str]] = {}
    for index, kind in _of_the_end(messages, api, dialect):
        found[index, kind] = []
    if api == "chat" and messages:
        for name in [dialect] if dialect is not None else (one for one in DIALECTS if one != "strict"):
            for place in chat_faults(messages, chat_dialect(name)):
                found.setdefault(place, []).append(name)
    return tuple(
        RequestFault(
            kind=kind,
            message=index,
            text=_FAULTS[kind].text,
            provider_error=_FAULTS[kind].provider_error,
            dialects=tuple(dict.fromkeys(names)),
        )
        for (index, kind), names in sorted(found.items())
    )


def _of_the_end(messages: Sequence[JsonObject], api: Api, dialect: DialectName | None) -> list[tuple[int, str]]:
    """The faults of the last message, which every provider may refuse."""
    spoken = [(index, one) for index, one in enumerate(messages) if one.get("role") not in ("system", "developer")]
    if not spoken:
        return [(0, "no_messages")]
    index, last = spoken[-1]
    if last.get("role") != "assistant" or _is_to_be_continued(last, dialect):
        return []
    is_blank = api == "anthropic" and _last_text(last) != _last_text(last).rstrip()
    return [(index, "trailing_assistant"), *([(index, "trailing_whitespace")] if is_blank else [])]


def _is_to_be_continued(message: JsonObject, dialect: DialectName | None) -> bool:
    mark = None if dialect is None else chat_dialect(dialect).chat.continued
    return bool(mark) and all(message.get(field) == value for field, value in (mark or {}).items())


def _last_text(message: JsonObject) -> str:
    """The text that ends the message; the empty one if it does not end in a text."""
    content = message["content"]
    end = content[-1] if isinstance(content, list) else {"text": content}
    return str(end.get("text") or "")
