"""Reading the output items of the Responses API: what begins, what goes on, and what is said again when it is done."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from typing import Any, TypeAlias

from turnlog.domain.parts import PartKind
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.append.chunks.events import EventReader, Opening, without
from turnlog.infrastructure.append.chunks.fields import Fields, as_object, list_of, text_of
from turnlog.infrastructure.append.chunks.items import (
    CALLS,
    CONTENTS,
    REASONING,
    SUMMARY,
    TEXTS,
    Item,
    contents_of,
    data_of,
    kind_of,
    texts_of,
)
from turnlog.infrastructure.append.chunks.known import KnownPart
from turnlog.infrastructure.append.chunks.reader import Sized

OpeningItem: TypeAlias = Generator[Sized, None, Item]
"""Commands that open an item, which is returned."""


class ItemReader(EventReader):
    """Reads items. Each text, content and item is said again when it is done: only what is new in it is recorded."""

    api = "responses"

    def __init__(self, step_id: str, now: Callable[[], datetime]) -> None:
        super().__init__(step_id, now)
        self._items = dict[Any, Item]()
        self._by_id = dict[Any, Item]()
        self._last: Item | None = None

    # Which item

    def item_of(self, event: Fields, kind: str) -> OpeningItem:
        """The item of an event; one of this type is opened if its beginning was not in this stream."""
        item = self.find_item(event, kind)
        if item is None:
            item_id = text_of(event.get("item_id"))
            implied: JsonObject = {"type": kind, "id": item_id} if item_id else {"type": kind}
            item = yield from self._open(event.get("output_index"), implied)
        return item

    def find_item(self, event: Fields, kind: str, item_id: Any = None) -> Item | None:
        """The item of an event: that of its id; or of its index, for some relays make an id anew for each event."""
        item_id, index = item_id or event.get("item_id"), event.get("output_index")
        known = (self._by_id.get(item_id) if item_id else None) or self._items.get(index)
        if known is not None or item_id or index is not None:
            return known
        last = self._last
        return last if last is not None and last.type == kind and not last.is_done else None

    def _open(self, index: Any, item: JsonObject) -> OpeningItem:
        kind, data = text_of(item.get("type")), data_of(item)
        if kind in CALLS:
            custom = kind == "custom_tool_call"
            part = yield from self.add_call(item.get("call_id"), item.get("name"), data, custom=custom)
        else:
            part = yield from self.add_part(kind_of(kind), data)
        opened = self._last = Item(kind, part, item.get("id"), is_named=bool(item.get("name")))
        if index is not None:
            self._items[index] = opened
        if opened.id:
            self._by_id[opened.id] = opened
        yield from self._texts_are(opened, item, announced=True)
        return opened

    # What is said of it

    def item_added(self, event: Fields) -> Iterator[Sized]:
        """An item begins."""
        item = as_object(event.get("item"), "chunk")
        if not item:  # some relays announce none
            return
        known = self.find_item(event, "", item.get("id"))
        is_another = known is not None and known.id and item.get("id") not in (None, known.id)
        if known is None or known.type != item.get("type") or known.is_done or is_another:
            yield from self._open(event.get("output_index"), item)
        else:
            yield from self._item_is(known, item)

    def item_done(self, event: Fields) -> Iterator[Sized]:
        """An item is done."""
        item = as_object(event.get("item"), "chunk")
        if not item:
            return
        yield from self._done(self.find_item(event, text_of(item.get("type")), item.get("id")), event, item)

    def item_at_end(self, index: int, fields: Fields, item: Any) -> Iterator[Sized]:
        """An item as the whole response has it."""
        known = self._by_id.get(item_id) if (item_id := fields.get("id")) else None
        known = known or self._items.get(index)
        if known is None or known.type != fields.get("type") or not known.is_done:
            yield from self._done(known, {"output_index": index}, as_object(item, "chunk") or {})

    def _done(self, known: Item | None, event: Fields, item: JsonObject) -> Iterator[Sized]:
        if known is None or known.type != item.get("type"):
            known = yield from self._open(event.get("output_index"), item)
        yield from self._item_is(known, item)
        known.is_done = True

    def _item_is(self, known: Item, item: JsonObject) -> Iterator[Sized]:
        if known.part.call is not None and not known.is_named:
            known.is_named = bool(item.get("name"))
            yield from self.name_call(known.part.call, item.get("call_id"), item.get("name"))
        yield from self._texts_are(known, item)
        yield from self.tell(known.part, data_of(item))

    def _texts_are(self, item: Item, said: JsonObject, *, announced: bool = False) -> Iterator[Sized]:
        for key, number, text in texts_of(said):
            yield from self.text_is(item, key, number, text, said, announced=announced)
        for number, content in enumerate(contents_of(said)):
            yield from self.content_is(item, number, content, announced=announced)

    # Texts

    def text_goes_on(self, item: Item, key: str, number: int, piece: str) -> Iterator[Sized]:
        """A piece of a text came."""
        part = item.contents.get(number) if TEXTS[key].content else item.part
        if part is None:
            part = yield from self.part_of_text(item, key, number)
        if new := item.said(key, number).new(piece):
            yield from self._say(part, key, new)

    def text_is(
        self, item: Item, key: str, number: int, text: str, event: Any, *, announced: bool = False
    ) -> Iterator[Sized]:
        """A text is said whole: where its item begins, or when it is done. If it is another than what came in pieces,
        the event is kept as it is."""
        if not text:
            return
        part = yield from self.part_of_text(item, key, number)
        said = item.said(key, number)
        new = said.announce(text) if announced else said.rest(text)
        if new is not None:
            yield from self._say(part, key, new)
        elif not said.contradicted:
            said.contradicted = True
            yield from self.keep(event)

    def part_of_text(self, item: Item, key: str, number: int) -> Opening:
        """The part that has a text."""
        content = TEXTS[key].content
        return item.part if content is None else (yield from self._content(item, number, content))

    def _say(self, part: KnownPart, key: str, text: str) -> Iterator[Sized]:
        if part.kind in ("text", "refusal", "reasoning", "tool_call"):
            yield from self.say(part, text)
        else:
            yield from self.write(part, TEXTS[key].whole, text)

    # The contents of a message, and those of reasoning

    def _content(self, item: Item, number: int, kind: PartKind) -> Opening:
        part = item.contents.get(number)
        if part is not None:
            return part
        if not item.contents and item.part.kind == kind:
            part = item.part
        else:
            held = item.part.data.get("item")
            item_id = held.get("id") if isinstance(held, dict) else None
            part = yield from self.add_part(kind, {"item_id": item_id} if item_id else {})
        item.contents[number] = part
        return part

    def content_is(self, item: Item, number: int, content: JsonObject, *, announced: bool = False) -> Iterator[Sized]:
        """A content begins (`announced`), or is done."""
        key = CONTENTS.get(text_of(content.get("type")))
        if item.type == "reasoning":
            yield from self.reasoning_is(item, "content", number, content, is_done=not announced)
        elif key is None:
            part = yield from self._content(item, number, "opaque")
            yield from self.tell(part, content)
        else:
            text = TEXTS[key]
            part = yield from self._content(item, number, text.content or "text")
            yield from self.tell(part, without(content, text.whole, "parsed"))  # the last is the package's
            whole = text_of(content.get(text.whole))
            yield from self.text_is(item, key, number, whole, content, announced=announced)

    def reasoning_is(self, item: Item, field: str, number: int, part: JsonObject, *, is_done: bool) -> Iterator[Sized]:
        """A text of reasoning begins, or is done: then its item has it in this field."""
        key = SUMMARY if field == "summary" else REASONING
        yield from self.text_is(item, key, number, text_of(part.get("text")), part, announced=not is_done)
        if is_done and len(list_of(item.part.data.get(field))) == number:
            yield from self.extend(item.part, {field: [part]})
