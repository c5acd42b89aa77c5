"""The parts of an answer in Chat Completions chunks that are neither text nor calls: audio, citations, images, and what
stands in a content that is a list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from turnlog.domain.parts import PartKind
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.append.chunks.fields import (
    Fields,
    fields_of,
    items_of,
    list_of,
    plain_object,
    text_of,
)
from turnlog.infrastructure.append.chunks.reader import Sized, StreamReader


class Said(NamedTuple):
    """What a delta's content says. `others` are parts of it that are neither text nor thinking, `beside` is what is
    said of those that are."""

    text: str
    thinking: str = ""
    others: tuple[Any, ...] = ()
    beside: JsonObject = {}


def said_in(content: Any) -> Said:
    """Reads a content: a text, or a list of parts (Mistral)."""
    if not isinstance(content, list):
        return Said(text_of(content))
    text, thinking, others, beside = list[str](), list[str](), list[Any](), JsonObject()
    for part in content:
        fields = fields_of({"text": part} if isinstance(part, str) else part)
        said, thought = fields.get("text"), fields.get("thinking")
        if not isinstance(said, str) and thought is None:
            others.append(part)
            continue
        inner = Said(thought) if isinstance(thought, str) else said_in(thought)
        text.append(text_of(said))
        thinking.append(inner.text)
        others += inner.others
        beside |= {name: value for name, value in items_of(fields) if name not in ("type", "text", "thinking")}
    return Said("".join(text), "".join(thinking), tuple(others), {k: v for k, v in beside.items() if v is not None})


_KINDS: dict[Any, PartKind] = {
    "reference": "citation",
    "image_url": "image",
    "image": "image",
    "input_audio": "audio",
    "audio": "audio",
    "file": "file",
    "document_url": "file",
}


class ChatParts:
    """Opens the parts of one stream, and goes on with them."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._audio = self._citations = 0
        self._audio_said = JsonObject()
        self._seen = set[str]()

    def read(self, delta: Fields, content: Said) -> Iterator[Sized]:
        """The commands for what a delta holds of such parts."""
        for part in content.others:
            yield from self._one(_KINDS.get(fields_of(part).get("type"), "opaque"), part)
        if isinstance(audio := delta.get("audio"), dict) or hasattr(audio, "__dict__"):
            yield from self._sound(fields_of(audio))
        yield from self._cited(delta.get("annotations"))
        for image in self._new("image", delta.get("images")):
            yield from self._one("image", image)

    def _one(self, kind: PartKind, part: Any) -> Iterator[Sized]:
        if data := plain_object({"part": part}, "chunk").get("part"):
            yield from self._reader.start_part(kind, data if isinstance(data, dict) else {"part": data})

    def _sound(self, audio: Fields) -> Iterator[Sized]:
        said = {name: audio.get(name) for name in _SOUND if isinstance(audio.get(name), str)}
        found = plain_object({name: value for name, value in items_of(audio) if name not in said}, "audio")
        new = {name: value for name, value in found.items() if self._audio_said.get(name) != value}
        self._audio_said |= new
        if not self._audio:
            yield from self._reader.start_part("audio", new)
            self._audio = self._reader.last_part
        elif new:
            yield from self._reader.extend_part(self._audio, "audio", new)
        for name, text in said.items():
            yield from self._reader.part_text(self._audio, name, str(text))

    def _cited(self, annotations: Any) -> Iterator[Sized]:
        new = list(self._new("citation", annotations))
        if not new:
            return
        if self._citations:
            yield from self._reader.extend_part(self._citations, "citation", {"annotations": new})
        else:
            yield from self._reader.start_part("citation", {"annotations": new})
            self._citations = self._reader.last_part

    def _new(self, kind: str, values: Any) -> Iterator[Any]:
        """Those that have not come before: some providers send all of them again with each chunk."""
        for value in list_of(values):
            plain = plain_object({kind: value}, "chunk")
            key = json.dumps(plain, sort_keys=True)
            if plain and key not in self._seen:
                self._seen.add(key)
                yield plain[kind]


_SOUND = ("transcript", "data")
"""The texts of audio, which come in pieces: what is said, and the sound in base64."""

_TEXTS = ("content", "refusal")
_LISTS = ("reasoning_details", "annotations", "images")


def unreadable(delta: Fields, reasoning: str) -> Iterator[str]:
    """The fields of a delta that are not what they are elsewhere, and are kept as they are. Of two fields with
    reasoning one is read; the other one is kept if it says something else."""
    for name in _TEXTS:
        if isinstance(delta.get(name), dict) or (name != "content" and isinstance(delta.get(name), list)):
            yield name
    for name in ("reasoning_content", "reasoning"):
        said = delta.get(name)
        if isinstance(said, dict | list) or (said and text_of(said) != reasoning):
            yield name
    for name in _LISTS:
        if delta.get(name) is not None and not isinstance(delta.get(name), list):
            yield name
    if isinstance(delta.get("audio"), str | list):
        yield "audio"
    if isinstance(delta.get("tool_calls"), str):
        yield "tool_calls"
