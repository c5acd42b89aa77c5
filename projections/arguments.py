"""The arguments of a tool call: the text of a JSON object, or what can be made of it."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

from pydantic_core import from_json

_ESCAPE = re.compile(
    r"""\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}  # two halves of a character
    | (?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})
    | \\.""",
    re.VERBOSE | re.DOTALL,
)


def is_object(arguments: str) -> bool:
    """Whether the arguments are the text of a JSON object, apart from halves of characters in it."""
    text = with_whole_escapes(arguments).encode("utf-8", "replace")
    try:
        return isinstance(from_json(text, allow_inf_nan=False), dict)
    except ValueError:
        return False


MOST_OBJECTS = 256
"""Whole objects in a row that are looked at. No relay repeats itself so often."""
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def last_whole(arguments: str) -> str:
    """The arguments that count, where relays have sent them again: whole twice, `{}` or a part of them before the real
    ones, or one bracket too many. The text as it is if it is one object, or if it cannot be told which one counts."""
    if is_object(arguments):
        return arguments
    found, known, at = arguments, dict[str, Any](), 0
    for _ in range(MOST_OBJECTS):
        begin = _SPACE.match(arguments, at).end()  # type: ignore[union-attr]  # it matches anywhere
        value, end = _object_at(arguments, begin)
        if value is None or (value and not _is_part(known, value)):
            break
        if value or not known:
            found, known = arguments[begin:end], value
        at = end
    rest = arguments[at:].strip()
    is_told = rest.strip("]}") == "" or (bool(known) and found.startswith(rest))
    return found if at and is_told else arguments


def _object_at(text: str, at: int) -> tuple[dict[str, Any] | None, int]:
    """The object that begins there, and where it ends; None if there is no whole one."""
    if not text.startswith("{", at):
        return None, at
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at


def _is_part(known: dict[str, Any], value: dict[str, Any]) -> bool:
    return all(key in value and value[key] == item for key, item in known.items())


def with_whole_escapes(arguments: str) -> str:
    """The text with an escaped U+FFFD for each escaped half of a character, which no parser accepts."""
    if r"\ud" not in arguments and r"\uD" not in arguments:  # nearly always, and a prompt has many
        return arguments
    return _ESCAPE.sub(lambda found: r"\ufffd" if found["lone"] else found[0], arguments)


def object_of(arguments: str) -> Any:
    """The object. A number that no float holds, such as 1e999, could not be written again: its text takes its place."""
    value = from_json(arguments)
    return value if _is_finite(value) else json.loads(arguments, parse_float=_number)


def _number(text: str) -> float | str:
    return number if isfinite(number := float(text)) else text


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or isfinite(value)
