"""A script for the fake provider in a file: a JSON list of what the classes of `turnlog.testing` take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import IO, Any

from pydantic import TypeAdapter, ValidationError

from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.testing.answers import Answer, Failure, Recorded, Reply, ToolCall


def read_script(file: IO[bytes]) -> list[Reply]:
    """The entries in order. Raises InvalidInputError that names the entry that is wrong."""
    try:
        entries = json.load(file)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("script", f"is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise InvalidInputError("script", f"is not a JSON list but a {type(entries).__name__}")
    return [_entry(entry, f"script[{index}]") for index, entry in enumerate(entries)]


def _entry(entry: Any, where: str) -> Reply:
    """A `status` makes it a failure, a `stream` a recording, and anything else an answer."""
    if not isinstance(entry, Mapping):
        raise InvalidInputError(where, f"is not a JSON object but a {type(entry).__name__}")
    kind: type[Reply] = Failure if "status" in entry else Recorded if "stream" in entry else Answer
    if unknown := list(_unknown(kind, entry)):
        raise InvalidInputError(where, f"has unknown fields: {', '.join(unknown)}")
    try:
        return TypeAdapter(kind).validate_python(entry)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInputError(".".join([where, *map(str, first["loc"])]), first["msg"]) from error


def _unknown(kind: type[Reply | ToolCall], entry: Any) -> Iterator[str]:
    """The keys that the class does not have, here and inside. pydantic takes no notice of them."""
    if isinstance(entry, Mapping):
        yield from sorted(entry.keys() - {each.name for each in fields(kind)})
        yield from _unknown(Failure, entry.get("fails_with"))
        calls = entry.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            yield from _unknown(ToolCall, call)
