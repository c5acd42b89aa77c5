"""What is sent, before it takes the shape of an API: messages and steps, with all that an API could refuse mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from turnlog.domain.events import Content, FunctionCall, Role
from turnlog.domain.values import JsonObject

Positions = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PromptCall:
    """A tool call with its one result. `arguments` is the text of a JSON object; the id is unique in the prompt."""

    id: str
    name: str
    arguments: str
    result: Content
    is_error: bool
    positions: Positions


@dataclass(frozen=True, slots=True)
class PromptStep:
    """An assistant message. `answers` are the places of the calls in the order in which they were answered."""

    turn: int
    positions: Positions
    content: Content | None = None
    refusal: str | None = None
    reasoning: str | None = None
    details: tuple[JsonObject, ...] = ()
    function_call: FunctionCall | None = None
    calls: tuple[PromptCall, ...] = ()
    answers: tuple[int, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """Any other message. A pinned one stays however short the window is: system, developer, and a summary."""

    turn: int
    positions: Positions
    role: Role
    content: Content
    name: str | None = None
    pinned: bool = False


PromptEntry = PromptMessage | PromptStep


class Rendered(NamedTuple):
    """A message in the shape of an API, the turn that it belongs to, and the positions of the events behind it."""

    message: dict[str, Any]
    turn: int
    positions: Positions
