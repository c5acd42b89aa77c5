"""The tool calls of one foreign message, and the arguments they are made with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from turnlog.domain.foreign.values import ForeignCall
from turnlog.domain.values import json_copy

BROKEN: Any = object()
"""What `parsed` returns for a text that is not JSON."""


def parsed(text: str) -> Any:
    """The JSON value of the text; BROKEN where it is not JSON, or not JSON that an event could hold."""
    try:
        return json_copy(json.loads(text), "text")
    except (ValueError, RecursionError):
        return BROKEN


def arguments_text(value: Any) -> str:
    """The arguments of a call as text; the empty string where there are none."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Calls:
    """The calls of one message. Two are the same if id, name and arguments are, however the arguments are written."""

    def __init__(self) -> None:
        self._calls: list[ForeignCall] = []
        self._unread: dict[tuple[str, str], list[str]] = {}
        self._meanings: dict[tuple[str, str], set[Any]] = {}
        self.beside: list[dict[str, Any]] = []
        """What stands beside each call, and is not read."""

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[ForeignCall]:
        return iter(self._calls)

    def __contains__(self, call: ForeignCall) -> bool:
        # Arguments are parsed only where an id comes twice, and then once.
        key = call.id, call.name
        meanings = self._meanings.setdefault(key, set())
        meanings.update(map(_meaning, self._unread.pop(key, ())))
        return bool(meanings) and _meaning(call.arguments) in meanings

    def add(self, call: ForeignCall, beside: dict[str, Any] | None = None) -> None:
        """Adds a call after the others."""
        self._calls.append(call)
        self.beside.append(beside or {})
        self._unread.setdefault((call.id, call.name), []).append(call.arguments)


def _meaning(arguments: str) -> Any:
    value = parsed(arguments)
    return (BROKEN, arguments) if value is BROKEN else _hashable(value)


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, bool):
        return bool, value  # Python takes True for 1
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
