"""What a foreign message says, in a normal form."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple

from turnlog.domain.parts import PartApi, PartMark

ForeignFormat = Literal[
    "chat",
    "anthropic",
    "responses",
    "rows",
    "chatgpt",
    "claude_ai",
    "claude_code",
    "librechat",
    "open_webui",
    "ui",
    "langchain",
    "pydantic_ai",
    "gemini",
]


def api_of(format_: ForeignFormat) -> PartApi:
    """The API whose parts the messages of a format have."""
    return "anthropic" if format_ == "anthropic" else "responses" if format_ == "responses" else "chat"


OWN_BLOCK = "own_block"
"""The type of a content part that is a block of one API which turnlog does not know: it goes back to that API alone."""
ForeignRole = Literal["system", "developer", "user", "assistant", "function"]
Parts = tuple[dict[str, Any], ...]
ForeignContent = str | Parts | None


class ForeignCall(NamedTuple):
    """A tool call. A missing field is the empty string; `arguments` is text: of a `custom` tool any text."""

    id: str
    name: str
    arguments: str
    custom: bool = False


class ForeignMessage(NamedTuple):
    """A message that is not a tool result. `details` holds thinking blocks and reasoning items, verbatim. `layout` has
    the parts of an assistant message, in order, if there is more to say of them than the other fields do."""

    role: ForeignRole
    content: ForeignContent = None
    name: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    details: Parts = ()
    calls: tuple[ForeignCall, ...] = ()
    function_call: tuple[str, str] | None = None
    layout: tuple[PartMark, ...] = ()


class ForeignResult(NamedTuple):
    """A tool result. `data` is what its API says of it besides, such as that a cached prefix ends here."""

    call_id: str
    content: str | Parts
    is_error: bool = False
    name: str | None = None
    data: dict[str, Any] = {}


class Flaw(NamedTuple):
    """Something that could not be read as it stands. `text` is a sentence for people."""

    kind: str
    text: str


class Reading(NamedTuple):
    """What one message says. `items` are in the order in which they count: results first. `at` is when the message was
    written, and `model` which model wrote it, as far as it says."""

    items: tuple[ForeignMessage | ForeignResult, ...]
    flaws: tuple[Flaw, ...]
    at: datetime | None = None
    model: str | None = None
