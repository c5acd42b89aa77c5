"""What the readers of streams of typed events share. Such an API says what an event is in its `type`, and opens each
part of an answer before it sends the text of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.limits import MAX_CALL_ID_LENGTH, MAX_KEY_LENGTH, MAX_REASON_LENGTH, PIECE_LENGTH
from turnlog.domain.parts import PartKind
from turnlog.domain.quoting import cut
from turnlog.domain.step_appends import AppendReasoning, AppendRefusal, AppendText, AppendToolCall
from turnlog.domain.values import JsonObject, is_unicode
from turnlog.infrastructure.append.chunks.chat_ends import error_text
from turnlog.infrastructure.append.chunks.fields import Fields, as_object, fields_of, pieces_of, short_text
from turnlog.infrastructure.append.chunks.known import KnownPart, changes
from turnlog.infrastructure.append.chunks.reader import Sized, StreamReader

Opening = Generator[Sized, None, KnownPart]
"""Commands that open a part, which is returned."""


class EventReader(StreamReader):
    """Reads typed events, and remembers the parts that they have opened.

    What belongs to no part is in one `opaque` part, under the names that the API has for it; and under `events` the
    events that are of no known type, or contradict what came before.
    """

    def __init__(self, step_id: str, now: Callable[[], datetime]) -> None:
        super().__init__(step_id, now)
        self._calls = 0
        self._rest: KnownPart | None = None
        self._has_ended = False

    def missing_end(self) -> str | None:
        """See StreamReader."""
        is_whole = self._has_ended or self.finish_reason is not None
        return None if is_whole else "the provider's stream broke off: its last event is missing"

    # Opening parts

    def add_part(self, kind: PartKind, data: JsonObject, call: int | None = None) -> Opening:
        """Opens a part."""
        yield from self.start_part(kind, data, call)
        return KnownPart(self.last_part, kind, data, call)

    def add_call(self, call_id: Any, name: Any, data: JsonObject, *, custom: bool = False) -> Opening:
        """Opens a tool call, and its part."""
        index = self._calls
        self._calls += 1
        yield from self.name_call(index, call_id, name, custom=custom)
        return (yield from self.add_part("tool_call", data, index))

    def name_call(self, index: int, call_id: Any, name: Any, *, custom: bool = False) -> Iterator[Sized]:
        """Opens a call, or says its id and its name."""
        call_id, name = short_text(call_id, "id", MAX_CALL_ID_LENGTH), short_text(name, "name")
        yield AppendToolCall(self.now(), self.step_id, index, call_id, name, custom=custom), len(call_id) + len(name)

    # Saying more of them

    def say(self, part: KnownPart, text: str) -> Iterator[Sized]:
        """Continues the text of a part, or the arguments of its call."""
        if not text:
            return
        kind, step_id = part.kind, self.step_id
        if kind == "tool_call":
            at, index = self.now(), part.call or 0
            yield from ((AppendToolCall(at, step_id, index, arguments=piece), len(piece)) for piece in pieces_of(text))
            return
        if self._current.get(kind) != part.number:
            yield from self.go_on_with(part.number, kind)
        append = _APPENDS[kind]
        if len(text) <= PIECE_LENGTH:  # nearly all are
            yield append(self.now(), step_id, text), len(text)
            return
        yield from ((append(self.now(), step_id, piece), len(piece)) for piece in pieces_of(text))

    def write(self, part: KnownPart, field: str, text: str) -> Iterator[Sized]:
        """Continues a text in the data of a part."""
        part.write(field, text)
        yield from self.part_text(part.number, field, text)

    def extend(self, part: KnownPart, more: JsonObject) -> Iterator[Sized]:
        """Adds to the data of a part."""
        part.extend(more)
        yield from self.extend_part(part.number, part.kind, more)

    def tell(self, part: KnownPart, data: JsonObject) -> Iterator[Sized]:
        """Says what is new in data that may repeat what is known. A text that goes on is continued."""
        known = part.data
        for field, text in data.items():
            before = known.get(field) or ""
            goes_on = isinstance(text, str) and isinstance(before, str) and text != before and text.startswith(before)
            if goes_on and (before or len(text) > PIECE_LENGTH):
                yield from self.write(part, field, text[len(before) :])
        for change in changes(part.data, data):
            yield from self.extend(part, change)

    def tell_rest(self, data: JsonObject) -> Iterator[Sized]:
        """Says what belongs to no part."""
        if self._rest is not None:
            yield from self.tell(self._rest, data)
        elif data:
            self._rest = yield from self.add_part("opaque", data)

    def keep(self, event: Any) -> Iterator[Sized]:
        """Keeps an event as it came. An error may have no type. Raises InvalidInputError for what is no event."""
        fields = fields_of(event)
        if (error := fields.get("error")) and not fields.get("type"):
            self.failed(error, fields)
            return
        kept = as_object(event, "chunk")
        if kept is None or not isinstance(kept.get("type"), str):
            raise InvalidInputError("chunk", f"is a {type(event).__name__} among events, without their `type`")
        if self._rest is None:
            self._rest = yield from self.add_part("opaque", {"events": [kept]})
        else:
            yield from self.extend(self._rest, {"events": [kept]})

    def failed(self, error: Any, event: Fields | None = None) -> None:
        """The provider says that something went wrong."""
        self.error = error_text(error)
        failure = {name: _short(value) for name, value in rest_of(fields_of(error)).items()}
        if event is not None and (request_id := event.get("request_id")):
            failure["request_id"] = _short(request_id)
        self.failure = failure or None


_APPENDS: dict[PartKind, type[AppendText | AppendReasoning | AppendRefusal]] = {
    "text": AppendText,
    "reasoning": AppendReasoning,
    "refusal": AppendRefusal,
}


def _short(value: Any) -> Any:
    if isinstance(value, bool | int):
        return value
    return cut(value if isinstance(value, str) else json.dumps(value), MAX_REASON_LENGTH)


def rest_of(fields: Fields, without: Collection[str] = ()) -> JsonObject:
    """The fields that say something, except those."""
    if not isinstance(fields, dict):
        return {}
    told = {name: value for name, value in fields.items() if name not in without and value not in _NOTHING}
    return {name: copied for name, value in told.items() if is_name(name) and (copied := plain(value)) is not None}


def is_name(name: Any) -> bool:
    """Whether it can be the name of a field in JSON."""
    return isinstance(name, str) and len(name) <= MAX_KEY_LENGTH and is_unicode(name)


_NOTHING: tuple[Any, ...] = (None, [], {}, ())


def plain(value: Any) -> Any:
    """A value of a chunk as JSON; None for what JSON does not have."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, BaseModel):
        return as_object(value, "chunk")
    copied = as_object({"": value}, "chunk")
    return None if copied is None else copied[""]


def without(data: JsonObject, *names: str) -> JsonObject:
    """The data without these fields."""
    return {name: value for name, value in data.items() if name not in names}
