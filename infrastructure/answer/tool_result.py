"""What a tool returned, as the content of a tool result."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.events import ResultStatus
from turnlog.domain.foreign import is_block
from turnlog.domain.quoting import cut
from turnlog.domain.values import json_copy

WORDS_LENGTH = 2_000
"""Characters of what a model is told about a failure."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Returned by a tool whose work goes on elsewhere: the call gets a pending result with this content, and the final
    one comes later, by `Session.add_tool_result`."""

    content: Any


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """How the run of a tool ended: the content and the status of the call's result."""

    content: str | list[dict[str, Any]]
    status: ResultStatus


def outcome_of(name: str, value: Any) -> ToolOutcome:
    """The outcome for what a tool returned: text as it is, content parts as they are, anything else as JSON text. What
    cannot be written as JSON is an error that says so."""
    held = value.content if isinstance(value, Pending) else value
    try:
        return ToolOutcome(_content(held), "final" if held is value else "pending")
    except Exception:  # noqa: BLE001 a value may bring code of its own
        return refused(f"{name} has run, but its result is of type {type(held).__name__}, which is not JSON.")


def refused(words: str) -> ToolOutcome:
    """An outcome that tells the model what went wrong."""
    return ToolOutcome(cut(words, WORDS_LENGTH), "error")


def too_large_outcome(error: InvalidInputError) -> ToolOutcome:
    """The outcome in the place of one that the log did not take, as for its size."""
    return refused(f"The tool has run, but its result was not taken: {error}. Ask for less, or for another form.")


def _content(value: Any) -> str | list[dict[str, Any]]:
    if isinstance(value, str):
        return str.__str__(value)  # the text of an enum's member, not its name
    if isinstance(value, bytes | bytearray | Iterator | AsyncIterator):
        raise TypeError("pydantic would read bytes as text, and an iterator to its end, which it may not have")
    if isinstance(value, list | tuple) and value and all(_is_part(part) for part in value):
        return list(json_copy(list(value), "content"))
    return _json_text(value)


def _is_part(value: Any) -> bool:
    """Whether it is a content part. Objects of an application have a `type`, too: a part also holds what its type
    says."""
    if not isinstance(value, dict) or value.get("type") == "refusal":
        return False
    return is_block(value) or (value.get("type") == "text" and value.get("text") == "")


def _json_text(value: Any) -> str:
    try:
        return to_json(value, inf_nan_mode="strings").decode()
    except PydanticSerializationError:
        # A lone surrogate, which Python's own json takes. It knows NaN, too, which is not JSON and becomes text.
        plain = json.loads(json.dumps(value, default=_jsonable), parse_constant=str)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | Iterator):
        raise TypeError("not JSON")
    return to_jsonable_python(value, inf_nan_mode="strings")
