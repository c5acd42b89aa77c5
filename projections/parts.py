"""The parts of an assistant message: as a reader wants them, and while events still bring them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from turnlog.domain.events import Content, PartDelta, PartExtended, PartStarted
from turnlog.domain.parts import PartApi, PartKind, PartMark, TextKind, extend, owned
from turnlog.domain.values import Frozen, JsonObject, Text


class Part(Frozen):
    """A part of an assistant message. `text` is that of a text, reasoning or refusal; `call` is the index of a tool
    call.

    `data` is what its `api` said of it besides, verbatim: a signature, citations, the id of audio and what is said in
    it, the whole block of a server's tool, or whatever turnlog does not know. It goes back to that API in its place.
    """

    kind: PartKind
    api: PartApi | None = None
    text: Text | None = None
    call: int | None = None
    data: JsonObject = {}


class Texts:
    """The texts of a message, from which parts take theirs, one after the other."""

    def __init__(self, texts: dict[TextKind, str | None]) -> None:
        self._texts = texts
        self._taken = dict.fromkeys(texts, 0)

    def take(self, mark: PartMark) -> str | None:
        """The text of a mark; None for one of another kind."""
        if mark.text is not None or mark.kind not in self._texts:
            return mark.text
        begin = self._taken[mark.kind]
        self._taken[mark.kind] = end = begin + mark.length
        return (self._texts[mark.kind] or "")[begin:end]


def parts_of(marks: Iterable[PartMark], texts: Texts) -> tuple[Part, ...]:
    """The parts that the marks lay out, in the order in which they were opened."""
    parts = list[PartMark]()
    pieces = list[list[str]]()
    numbers = dict[int, int]()
    for mark in marks:
        text = texts.take(mark)
        at = numbers.get(mark.part) if mark.part else None
        if at is None:
            at = numbers[mark.part] = len(parts)
            parts.append(mark)
            pieces.append([])
        if text is not None:
            pieces[at].append(text)
    return tuple(
        Part(
            kind=mark.kind,
            api=mark.api,
            text="".join(texts_of_part) if texts_of_part or mark.kind in _WITH_TEXT else None,
            call=mark.call,
            data=mark.data,
        )
        for mark, texts_of_part in zip(parts, pieces, strict=True)
    )


_WITH_TEXT = ("text", "reasoning", "refusal")
SAYING: frozenset[PartKind] = frozenset({"server_call", "server_result", "image", "audio", "file"})
"""Parts that are an answer although they stand in no other field of the message."""


def usual_marks(
    reasoning: str | None, content: Content | None, refusal: str | None, calls: Iterable[int]
) -> Iterator[PartMark]:
    """The marks of a message without any: its reasoning, its text or blocks, its refusal, and its calls."""
    if reasoning:
        yield PartMark(kind="reasoning", length=len(reasoning))
    if isinstance(content, str):
        yield from [PartMark(kind="text", length=len(content))] if content else []
    else:
        yield from map(_of_block, content or ())
    if refusal:
        yield PartMark(kind="refusal", length=len(refusal))
    for index in calls:
        yield PartMark(kind="tool_call", call=index)


_KINDS: dict[Any, PartKind] = {"image_url": "image", "input_audio": "audio", "file": "file"}


def _of_block(block: JsonObject) -> PartMark:
    """The mark of a block in the Chat Completions shape."""
    kind = block.get("type")
    if kind in ("text", "refusal") and isinstance(text := block.get(kind), str):
        rest = {key: value for key, value in block.items() if key not in ("type", kind)}
        return PartMark(kind=kind, text=text, data=rest)
    return PartMark(kind=_KINDS.get(kind, "opaque"), api="chat", data=block)


class _MarkFold:
    """A mark whose part still grows. Its data is its own, and changes in place: much may be said of it, bit by bit."""

    __slots__ = ("_data", "_fields", "_has_more", "_mark", "length")

    def __init__(self, mark: PartMark) -> None:
        self._mark = mark
        self.length = mark.length
        self._data: JsonObject | None = None
        self._fields: dict[str, list[str]] = {}
        self._has_more = False

    @property
    def part(self) -> int:
        return self._mark.part

    @property
    def kind(self) -> PartKind:
        return self._mark.kind

    @property
    def api(self) -> PartApi | None:
        return self._mark.api

    def continue_field(self, field: str, text: str) -> None:
        self._fields.setdefault(field, []).append(text)
        self._has_more = True

    def extend(self, data: JsonObject) -> None:
        extend(self._own_data(), data)
        self._has_more = True

    def _own_data(self) -> JsonObject:
        """The data, with the texts that have come for it."""
        if self._data is None:
            self._data = owned(self._mark.data)
        for field, pieces in self._fields.items():
            before = self._data.get(field)
            self._data[field] = (before if isinstance(before, str) else "") + "".join(pieces)
        self._fields.clear()
        return self._data

    def freeze(self) -> PartMark:
        if self._has_more:
            self._has_more = False
            self._mark = self._mark.model_copy(update={"data": owned(self._own_data())})
        if self.length != self._mark.length:
            self._mark = self._mark.model_copy(update={"length": self.length})
        return self._mark


class PartsFold:
    """The marks of an open step. There are none before an event opens a part: nearly all steps do without."""

    __slots__ = ("_by_call", "_by_number", "_current", "_marks")

    def __init__(self, marks: Iterable[PartMark]) -> None:
        self._marks = list[_MarkFold]()
        self._by_number = dict[int, _MarkFold]()
        self._by_call = dict[int, int]()
        self._current = dict[PartKind, _MarkFold]()
        for mark in marks:
            self._add(mark)

    def _add(self, mark: PartMark) -> _MarkFold:
        added = _MarkFold(mark)
        if mark.call is not None:
            self._by_call[mark.call] = len(self._marks)
        self._marks.append(added)
        self._current[mark.kind] = added
        if mark.part:
            self._by_number.setdefault(mark.part, added)
        return added

    def grow(self, kind: TextKind, length: int) -> None:
        """Counts a fragment of the message."""
        current = self._current.get(kind)
        if current is None:
            current = self._add(PartMark(kind=kind))
        current.length += length

    def call(self, index: int) -> None:
        """Marks a call that was opened, unless a part was opened for it."""
        if index not in self._by_call:
            self._add(PartMark(kind="tool_call", call=index))

    def start(self, event: PartStarted) -> bool:
        """Opens a part. False if there is one with its number."""
        if event.part in self._by_number:
            return False
        mark = PartMark(part=event.part, kind=event.kind, api=event.api, call=event.call, data=event.data)
        at = None if event.call is None else self._by_call.get(event.call)
        if at is None or self._marks[at].part:
            self._add(mark)
        else:  # the call was there before anything was said of its part
            self._marks[at] = self._by_number[event.part] = _MarkFold(mark)
        return True

    def continue_field(self, event: PartDelta) -> bool:
        """Continues a text in the data of a part. False if there is no such part."""
        part = self._by_number.get(event.part)
        if part is None:
            return False
        part.continue_field(event.field, event.text)
        return True

    def extend(self, event: PartExtended) -> bool:
        """Says more of a part. False if there is no such part."""
        part = self._by_number.get(event.part)
        if part is None:
            return False
        if event.data:
            part.extend(event.data)
        current = self._current.get(part.kind)
        if part.kind in _WITH_TEXT and (current is None or current.part != event.part):
            self._add(PartMark(part=event.part, kind=part.kind, api=part.api))
        return True

    def freeze(self) -> tuple[PartMark, ...]:
        """The marks as they are now."""
        return tuple(mark.freeze() for mark in self._marks)
