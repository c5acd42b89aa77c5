"""What is read of a foreign message, in a normal form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from turnlog.domain.values import json_copy

ForeignFormat = Literal["chat", "anthropic", "responses", "rows"]
ForeignRole = Literal["system", "developer", "user", "assistant", "function"]
Parts = tuple[dict[str, Any], ...]
ForeignContent = str | Parts | None


class ForeignCall(NamedTuple):
    """A tool call; what is missing is the empty string. `arguments` is text."""

    id: str
    name: str
    arguments: str


class ForeignMessage(NamedTuple):
    """A message that is not a tool result. `details` are thinking blocks and reasoning items, verbatim."""

    role: ForeignRole
    content: ForeignContent = None
    name: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    details: Parts = ()
    calls: tuple[ForeignCall, ...] = ()
    function_call: tuple[str, str] | None = None


class ForeignResult(NamedTuple):
    """A tool result."""

    call_id: str
    content: str | Parts
    is_error: bool = False
    name: str | None = None


class Flaw(NamedTuple):
    """What could not be read as it stands, in a sentence."""

    kind: str
    text: str


class Reading(NamedTuple):
    """What a message says: results and messages, in the order in which they count."""

    items: tuple[ForeignMessage | ForeignResult, ...]
    flaws: tuple[Flaw, ...]


def arguments_text(value: Any) -> str:
    """A call's arguments as text; missing ones are empty."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Calls:
    """The calls of one message. One is known again by its id, name, and arguments, however these are written."""

    def __init__(self) -> None:
        self._calls: list[ForeignCall] = []
        self._unread: dict[tuple[str, str], list[str]] = {}
        self._meanings: dict[tuple[str, str], set[Any]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[ForeignCall]:
        return iter(self._calls)

    def __contains__(self, call: ForeignCall) -> bool:
        # Arguments are read only where an id comes twice, and then once.
        key = call.id, call.name
        meanings = self._meanings.setdefault(key, set())
        meanings.update(map(_meaning, self._unread.pop(key, ())))
        return bool(meanings) and _meaning(call.arguments) in meanings

    def add(self, call: ForeignCall) -> None:
        """Adds a call behind the others."""
        self._calls.append(call)
        self._unread.setdefault((call.id, call.name), []).append(call.arguments)


def _meaning(arguments: str) -> Any:
    value = parsed(arguments)
    return (BROKEN, arguments) if value is BROKEN else _hashable(value)


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, bool):
        return bool, value  # which would be 0 or 1
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def parsed(text: str) -> Any:
    """The JSON value; BROKEN where it is none that an event could hold."""
    try:
        return json_copy(json.loads(text), "text")
    except (ValueError, RecursionError):
        return BROKEN


BROKEN: Any = object()
