"""The pieces in which an answer is streamed, whatever the API."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from turnlog.infrastructure.testing.answers import Pieces, Request, ToolCall

_WORDS = re.compile(r"\s*\S+|\s+")
_ARGUMENTS_LENGTH = 8
"""Characters of the arguments of a call in one chunk."""


def pieces_of(text: Pieces) -> list[str]:
    """The pieces of a text: its words, unless it is in pieces already."""
    return _WORDS.findall(text) if isinstance(text, str) else list(text)


def arguments_of(call: ToolCall) -> str:
    """The arguments of a call as text."""
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)


def fragments_of(call: ToolCall) -> list[str]:
    """The arguments of a call in fragments."""
    arguments = arguments_of(call)
    return [arguments[start : start + _ARGUMENTS_LENGTH] for start in range(0, len(arguments), _ARGUMENTS_LENGTH)]


def input_of(call: ToolCall) -> Any:
    """The arguments of a call as an object; an empty one where they are none."""
    if isinstance(call.arguments, Mapping):
        return dict(call.arguments)
    try:
        return json.loads(call.arguments)
    except ValueError:
        return {}


def tokens_of(request: Request) -> int:
    """A rough count of the prompt's tokens: four characters are one."""
    prompt = request.get("messages") or request.get("input") or ""
    return len(json.dumps(prompt)) // 4
