"""The parts of an assistant message, in the order in which the model made them.

A message has its text, reasoning, refusal and calls in fields of their own, each in one piece. What came between them,
where one ends and the next begins, and all else that a provider said of them stands in marks beside these fields. A
message without marks has one part of each kind.
"""

from __future__ import annotations

from typing import Any, Literal

from turnlog.domain.values import Frozen, JsonObject, Text

PartKind = Literal[
    "text",
    "reasoning",
    "refusal",
    "tool_call",
    "server_call",
    "server_result",
    "citation",
    "image",
    "audio",
    "file",
    "opaque",
]
"""What a part is. A `server_call` is a tool that the provider has run, and a `server_result` what came of it. `opaque`
is what turnlog does not know."""
PartApi = Literal["chat", "anthropic", "responses"]
"""The API that a part came from. Its `data` goes back to no other."""
TextKind = Literal["text", "reasoning", "refusal"]
"""The kinds of part whose text stands in a field of the message."""

OF_A_STREAM = ("deltas", "input_json")
"""Fields of the data of a part that its stream alone had: the input of a server's tool in pieces, and pieces of which
nothing else is known. They are not of its block, which goes back without them."""


class PartMark(Frozen):
    """Where a part of a message begins, and what its API said of it.

    `part` is its number in the step, 0 for one that no event has opened. A part may have several marks, where the texts
    of two parts came in turn; the first has its `data`. `length` counts the characters of the message's text, reasoning
    or refusal that belong to it, unless it has a `text` of its own: that of a message whose content is in blocks.
    `call` is the index of a tool call.
    """

    part: int = 0
    kind: PartKind
    api: PartApi | None = None
    length: int = 0
    text: Text | None = None
    call: int | None = None
    data: JsonObject = {}


def extended(data: JsonObject, more: JsonObject) -> JsonObject:
    """The data of a part with more that was said of it: objects are merged, lists continued, other values replaced."""
    merged: dict[str, Any] = dict(data)
    for key, value in more.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[key] = extended(known, value)
        elif isinstance(known, list) and isinstance(value, list):
            merged[key] = [*known, *value]
        else:
            merged[key] = value
    return merged
