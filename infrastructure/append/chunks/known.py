"""What is known of a part while its stream is read: what came last says all of it again, and only what is new in it is
recorded."""

from __future__ import annotations

from typing import Any

from turnlog.domain.parts import PartKind, extended
from turnlog.domain.values import JsonObject


class KnownPart:
    """A part that was opened: its number, its data as events have brought it so far, and the index of its call."""

    __slots__ = ("_data", "_pieces", "call", "kind", "number")

    def __init__(self, number: int, kind: PartKind, data: JsonObject, call: int | None = None) -> None:
        self.number = number
        self.kind = kind
        self.call = call
        self._data = data
        self._pieces = dict[str, list[str]]()

    @property
    def data(self) -> JsonObject:
        """The data, with the texts that came in pieces."""
        for field, pieces in self._pieces.items():
            before = self._data.get(field)
            text = (before if isinstance(before, str) else "") + "".join(pieces)
            self._data = {**self._data, field: text}
        self._pieces = {}
        return self._data

    def extend(self, more: JsonObject) -> None:
        """More data came."""
        self._data = extended(self.data, more)

    def write(self, field: str, text: str) -> None:
        """A text in the data goes on."""
        self._pieces.setdefault(field, []).append(text)


class Said:
    """A text as far as it came. `contradicted`: it was said again, and differently."""

    __slots__ = ("_announced", "_pieces", "contradicted")

    def __init__(self) -> None:
        self._pieces = list[str]()
        self._announced = ""
        self.contradicted = False

    def announce(self, text: str) -> str | None:
        """As `rest`, of a text that stands where its item is opened: some providers send it in pieces all the same."""
        new = self.rest(text)
        self._announced = text
        return new

    def new(self, piece: str) -> str:
        """What is new in the next piece."""
        if self._announced and self._announced.startswith(piece):
            self._announced = self._announced[len(piece) :]
            return ""
        self._announced = ""
        self._pieces.append(piece)
        return piece

    def rest(self, whole: str) -> str | None:
        """What is new in the whole text; None if it goes on from something else than what came."""
        self._announced = ""
        self._pieces[:] = [before := "".join(self._pieces)]
        if not whole.startswith(before):
            return None if whole else ""
        self._pieces.append(whole[len(before) :])
        return whole[len(before) :]


def changes(known: JsonObject, new: JsonObject) -> list[JsonObject]:
    """How data is extended so that it has these values: in one go, or in two where a list or an object is replaced.
    Fields that the new data lacks stay."""
    cleared, more = _changes(known, new)
    return [change for change in (cleared, more) if change]


def _changes(known: JsonObject, new: JsonObject) -> tuple[JsonObject, JsonObject]:
    cleared, more = dict[str, Any](), dict[str, Any]()
    for key, value in new.items():
        before = known.get(key)
        if key in known and before == value:
            continue
        if isinstance(before, dict) and isinstance(value, dict) and before.keys() <= value.keys():
            inner, more[key] = _changes(before, value)
            if inner:
                cleared[key] = inner
            continue
        if isinstance(before, list) and isinstance(value, list) and value[: len(before)] == before:
            more[key] = value[len(before) :]
            continue
        if isinstance(before, dict | list) and isinstance(value, dict | list):
            cleared[key] = None
        more[key] = value
    return cleared, more
