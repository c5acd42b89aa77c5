"""The output items of the Responses API: of which kind their parts are, where their texts stand, and what of an item
has come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from turnlog.domain.parts import PartKind
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.append.chunks.events import without
from turnlog.infrastructure.append.chunks.fields import arguments_of, list_of, text_of
from turnlog.infrastructure.append.chunks.known import KnownPart, Said


class Text(NamedTuple):
    """A text that comes in pieces: the type of its item, the field with its number in the item, the field with all of
    it, and its kind, if it is a content of a message."""

    item: str
    number: str
    whole: str
    content: PartKind | None = None


OUTPUT, REFUSAL = "response.output_text", "response.refusal"
SUMMARY, REASONING = "response.reasoning_summary_text", "response.reasoning_text"
ARGUMENTS, INPUT = "response.function_call_arguments", "response.custom_tool_call_input"
TEXTS = {
    OUTPUT: Text("message", "content_index", "text", "text"),
    REFUSAL: Text("message", "content_index", "refusal", "refusal"),
    SUMMARY: Text("reasoning", "summary_index", "text"),
    REASONING: Text("reasoning", "content_index", "text"),
    ARGUMENTS: Text("function_call", "", "arguments"),
    INPUT: Text("custom_tool_call", "", "input"),
    "response.mcp_call_arguments": Text("mcp_call", "", "arguments"),
    "response.code_interpreter_call_code": Text("code_interpreter_call", "", "code"),
}
"""By the type of their events, which have `.delta` or `.done` behind it."""
CONTENTS = {"output_text": OUTPUT, "refusal": REFUSAL}
"""The contents of a message that are texts."""
CALLS = {"function_call": ("call_id", "name", "arguments"), "custom_tool_call": ("call_id", "name", "input")}
"""The calls of our tools, and what of them does not stand in the data of their parts."""
_OF_ITEMS = {
    "reasoning_summary_part": "reasoning",
    "shell_call_command": "shell_call",
    "shell_call_output_content": "shell_call_output",
    **{key.removeprefix("response."): text.item for key, text in TEXTS.items()},
}


class Item:
    """An item: its part (of a message the first of them), the parts of its contents, and its texts. `is_named`: its
    call has a name."""

    __slots__ = ("_texts", "contents", "id", "is_done", "is_named", "part", "type")

    def __init__(self, kind: str, part: KnownPart, item_id: Any, *, is_named: bool) -> None:
        self.type = kind
        self.part = part
        self.id = item_id
        self.contents = dict[int, KnownPart]()
        self.is_done = False
        self.is_named = is_named
        self._texts = dict[tuple[str, int], Said]()

    def said(self, text: str, number: int = 0) -> Said:
        """How much came of a text: its key in TEXTS, and its number in the item."""
        said = self._texts.get((text, number))
        if said is None:
            said = self._texts[(text, number)] = Said()
        return said


def item_type(event_type: str) -> str:
    """The type of the item that an event is of."""
    name = event_type.split(".")[1] if "." in event_type else event_type
    return _OF_ITEMS.get(name, name)


def kind_of(item: str) -> PartKind:
    """The kind of an item's part."""
    match item:
        case "message":
            return "text"
        case "reasoning":
            return "reasoning"
        case "program":
            return "server_call"
    if item.endswith("_call"):
        return "server_call"
    return "server_result" if item.endswith("_output") else "opaque"


def data_of(item: JsonObject) -> JsonObject:
    """What the part of an item has of it: all that stands nowhere else. The item of a message is under `item`."""
    kind = text_of(item.get("type"))
    if kind == "message":
        return {"item": without(item, "content")}
    return without(item, *CALLS.get(kind, ()), "parsed_arguments")  # the last is the package's


def texts_of(item: JsonObject) -> Iterator[tuple[str, int, str]]:
    """The texts in an item, besides those of a message: their keys in TEXTS, their numbers, and the texts."""
    match item.get("type"):
        case "reasoning":
            for field, key in (("summary", SUMMARY), ("content", REASONING)):
                for number, part in enumerate(list_of(item.get(field))):
                    yield key, number, text_of(part.get("text")) if isinstance(part, dict) else ""
        case "function_call":
            yield ARGUMENTS, 0, arguments_of(item.get("arguments"))
        case "custom_tool_call":
            yield INPUT, 0, text_of(item.get("input"))


def contents_of(item: JsonObject) -> list[JsonObject]:
    """The contents of a message."""
    contents = list_of(item.get("content")) if item.get("type") == "message" else []
    return [content for content in contents if isinstance(content, dict)]
