"""The fields of a Chat Completions chunk that are not recorded, and why; and all others that belong to no part."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from turnlog.domain.values import JsonObject
from turnlog.infrastructure.append.chunks.fields import Fields, plain_object
from turnlog.infrastructure.append.chunks.reader import Sized, StreamReader

ENVELOPE: dict[str, str] = {
    "created": "when the provider began to answer, by its clock; each event has its own time",
    "object": "the kind of the object, by which it was found to be a chunk",
    "id": "the first one is the step's response_id; relays make up another one for each chunk",
    "obfuscation": "random characters, so that the length of a chunk tells nothing (OpenAI)",
    "p": "the same (Cloudflare)",
    "usage": "counts so far; the step has the latest and most complete ones",
    "choices.index": "choice 0 is recorded, and no other",
    "choices.text": "the text of the delta once more (Together)",
    "choices.message": "the whole answer once more; it is recorded as far as no delta has brought it",
    "choices.delta.role": "the assistant speaks",
    "choices.delta.content.type": "text or thinking, as which it is recorded; a part of another type is kept whole",
    "choices.delta.tool_calls.id": "the first one of a call; LM Studio makes up another one for each fragment",
    "choices.delta.tool_calls.index": "which call a fragment goes on with; calls are numbered by turnlog",
    "choices.delta.tool_calls.type": "function or custom, which each call says of itself",
}
"""What a provider says that is not in the events, and why."""

Level = Literal["of_chunk", "of_choice", "of_delta"]
LEVELS: tuple[Level, ...] = ("of_chunk", "of_choice", "of_delta")

READ: dict[Level, frozenset[str]] = {
    "of_chunk": frozenset({"choices", "created", "object", "id", "obfuscation", "p", "usage"}),
    "of_choice": frozenset({"index", "delta", "message", "text", "finish_reason", "usage"}),
    "of_delta": frozenset(
        {
            "content",
            "reasoning",
            "reasoning_content",
            "reasoning_details",
            "refusal",
            "tool_calls",
            "function_call",
            "audio",
            "annotations",
            "images",
            "usage",
        }
    ),
}
"""The fields that are read elsewhere, or are in ENVELOPE."""
_UNCHECKED: dict[Level, frozenset[str]] = {
    "of_chunk": frozenset({"choices", "created", "obfuscation", "p", "id"}),
    "of_choice": frozenset({"delta", "message", "text"}),
    "of_delta": frozenset({"content", "tool_calls", "reasoning_content", "reasoning"}),
}
"""The fields that say nothing new in a chunk that goes on with a text or with calls, or are looked at in any case."""
_TEXT = frozenset({"content"})
_MOST_SHAPES = 64
"""Shapes of the chunks of one stream that are remembered."""
_PIECES = frozenset({"logprobs"})
"""Fields whose values are pieces also where two of them are the same."""


class Beside:
    """What belongs to no part, in one opaque part: what is said of the response, under `of_chunk` and `of_choice`, and
    fields of the message that turnlog does not know, under their names. Plain values of a whole chunk are details of
    the response.

    What is said again is not stored again. Texts of unknown fields of a delta are pieces of one text, as the openai
    package has it, unless the second is the first once more: then it is a mark, such as a channel.
    """

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._part = 0
        self._first: JsonObject = {}
        self._texts: set[str] = set()
        self._known: dict[Level, JsonObject] = {
            "of_chunk": {"object": "chat.completion.chunk"},
            "of_choice": {"index": 0},
            "of_delta": {"role": "assistant"},
        }
        self._shapes: dict[Keys, Shape] = {}
        self._shape = Shape(((), (), ()))

    def usual_shape(self, chunk: Any, choice: Any, delta: Any) -> Shape | None:
        """The shape of a chunk that says nothing new beside a text, reasoning or calls in its delta; None for any
        other. Which fields have to be looked at is found out once for each shape of chunks."""
        shape = self._shape
        if not (tuple(chunk) == shape.chunk and tuple(choice) == shape.choice and tuple(delta) == shape.delta):
            shape = self._shape_of((tuple(chunk), tuple(choice), tuple(delta)))
        of_chunk, of_choice, of_delta = shape.getters
        if (of_chunk(chunk), of_choice(choice), of_delta(delta)) == shape.usual:
            return shape
        return shape if self._says_nothing(shape, chunk, choice, delta) else None

    def _shape_of(self, keys: Keys) -> Shape:
        shape = self._shapes.get(keys)
        if shape is None:
            shape = Shape(keys)
            if len(self._shapes) < _MOST_SHAPES:
                self._shapes[keys] = shape
        self._shape = shape
        return shape

    def _says_nothing(self, shape: Shape, *levels: Any) -> bool:
        for fields, names, known in zip(levels, shape.looked_at, self._known.values(), strict=True):
            for name in names:
                value = fields.get(name)
                if value is None or value == known.get(name):
                    continue
                if value or isinstance(value, int | float):
                    return False
        shape.remember(self._known, *levels)
        return True

    def take(self, level: Level, fields: Fields, unread: Collection[str] = ()) -> Iterator[Sized]:
        """The commands for the fields that are not read, and for those that could not be read."""
        read, known, found = READ[level], self._known[level], dict[str, Any]()
        for name in (*fields, *unread):
            if name not in read or name in unread:
                value = fields.get(name)
                if value is not None and value != known.get(name):
                    found[name] = value
        if found:
            yield from self.say(level, found)

    def say(self, level: Level, fields: dict[str, Any]) -> Iterator[Sized]:
        """The commands for these fields, as far as they say something new."""
        new = JsonObject()
        for name, value in plain_object(fields, "chunk").items():
            if value in ("", [], {}):
                continue
            if level == "of_delta" and isinstance(value, str):
                if self._is_text(name, value):
                    yield from self._extended(new)
                    new = {}
                    yield from self._reader.part_text(self._part, name, value)
                    continue
            elif name in _PIECES:
                new[name] = value
                continue
            fresh = _fresh(self._known[level].get(name), value)
            if fresh is None:
                continue
            if level == "of_chunk" and isinstance(fresh, str | int | float):
                self._reader.details[name] = fresh  # of every stream of many providers: no part for that alone
            else:
                new[name] = fresh
            if name not in self._first:
                self._known[level][name] = value
        yield from self._extended(new if level == "of_delta" or not new else {level: new})

    def knows(self, level: Level, name: str, value: Any) -> None:
        """Has a value count as said: it is recorded elsewhere."""
        self._known[level].setdefault(name, value)

    def has(self, name: str) -> bool:
        """Whether this field of a delta has come."""
        return name in self._texts or name in self._first or name in self._known["of_delta"]

    def _is_text(self, name: str, value: str) -> bool:
        """Whether the value goes on with a text that came before. The second tells a text from a mark."""
        known = self._known["of_delta"]
        if name in self._texts or name in known:
            return name in self._texts
        first = self._first.pop(name, None)
        if first is None:
            self._first[name] = value
        elif first == value:
            known[name] = value
        else:
            self._texts.add(name)
        return name in self._texts

    def _extended(self, new: JsonObject) -> Iterator[Sized]:
        if not new:
            return
        if self._part:
            yield from self._reader.extend_part(self._part, "opaque", new)
        else:
            yield from self._reader.start_part("opaque", new)
            self._part = self._reader.last_part


Keys: TypeAlias = tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]


class Shape:
    """The names of the fields of a chunk, its choice and its delta; those that are looked at; and what these said when
    they said nothing new. `has_only_text`: its delta has no place for reasoning or calls."""

    __slots__ = ("choice", "chunk", "delta", "getters", "has_only_text", "looked_at", "usual")

    def __init__(self, keys: Keys) -> None:
        self.chunk, self.choice, self.delta = keys
        self.looked_at = tuple(
            tuple(name for name in names if name not in _UNCHECKED[level])
            for level, names in zip(LEVELS, keys, strict=True)
        )
        # Of one name alone a getter gives no tuple.
        self.getters = tuple(itemgetter(*names, *names[:1]) if names else _nothing for names in self.looked_at)
        self.has_only_text = _UNCHECKED["of_delta"].intersection(self.delta) == _TEXT
        self.usual: tuple[Any, ...] = ()

    def remember(self, known: dict[Level, JsonObject], *levels: Any) -> None:
        """Has what is said now, which is known or nothing, count as usual."""
        said = [
            # The chunk's own objects may be changed by whoever has it.
            tuple(_copied(fields.get(name), of_level.get(name)) for name in names)
            for names, fields, of_level in zip(self.looked_at, levels, known.values(), strict=True)
        ]
        self.usual = tuple((*of_level, *of_level[:1]) for of_level in said)


def _nothing(_: Any) -> tuple[()]:
    return ()


def _copied(value: Any, known: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    return known if value == known else type(value)()


def _fresh(known: Any, value: Any) -> Any:
    """What is new in a value; None if nothing is. A list that begins as it did goes on."""
    if known == value:
        return None
    if isinstance(known, list) and isinstance(value, list) and value[: len(known)] == known:
        return value[len(known) :]
    return value
