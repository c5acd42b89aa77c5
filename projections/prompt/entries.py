"""What is sent, before it takes the shape of an API: messages and steps without anything that an API could refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from turnlog.domain.events import Content, FunctionCall, Role
from turnlog.domain.parts import PartKind
from turnlog.domain.values import JsonObject

Positions = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PromptCall:
    """A tool call with its one result. `arguments` is the text of a JSON object; the id is unique in the prompt.

    `positions` are those of the call's step and, if the call was answered, of its result. `custom` is the input of a
    custom tool, as it came. `data` is what the API that is asked said of the result besides.
    """

    id: str
    name: str
    arguments: str
    result: Content
    is_error: bool
    positions: Positions
    custom: str | None = None
    data: JsonObject = field(default_factory=dict)


class PromptPart(NamedTuple):
    """A part of an assistant message, in its place. `call` is an index of the step's `calls`. `data` is there only
    where the part came from the API that is asked."""

    kind: PartKind
    text: str | None
    call: int | None
    data: JsonObject


@dataclass(frozen=True, slots=True)
class PromptStep:
    """An assistant message. `answers` are indexes of `calls`, in the order in which the calls were answered.

    `parts` has all of it in order, if something in it came from the API that is asked and has more to it than the other
    fields say. `paused`: the provider has stopped in the middle, and goes on from there.
    """

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
    parts: tuple[PromptPart, ...] = ()
    paused: bool = False

    def answered_calls(self) -> Iterator[PromptCall]:
        """The calls in the order in which they were answered."""
        return (self.calls[index] for index in self.answers)


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """Any other message. Pinned ones (system, developer, and a summary) stay however short the window is."""

    turn: int
    positions: Positions
    role: Role
    content: Content
    name: str | None = None
    pinned: bool = False


PromptEntry = PromptMessage | PromptStep


class Rendered(NamedTuple):
    """A message in the shape of an API, the index of its turn, and the positions of the events it was made from."""

    message: dict[str, Any]
    turn: int
    positions: Positions


def last_spoken(rendered: Sequence[Rendered]) -> int | None:
    """The index of the last message that is not a system message."""
    backwards = range(len(rendered) - 1, -1, -1)
    return next((index for index in backwards if rendered[index].message.get("role") != "system"), None)
