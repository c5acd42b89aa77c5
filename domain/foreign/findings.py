"""What has been found in a foreign message so far."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from turnlog.domain.foreign.calls import Calls
from turnlog.domain.foreign.values import Flaw, ForeignCall, ForeignFormat, ForeignMessage, ForeignResult, Reading
from turnlog.domain.quoting import quoted

Read = TypeVar("Read")


class Findings:
    """Collects the results, the other items and the flaws of one message while it is read."""

    def __init__(self, format_: ForeignFormat) -> None:
        self.format = format_
        self.results: list[ForeignMessage | ForeignResult] = []
        self.items: list[ForeignMessage | ForeignResult] = []
        self._flaws: list[Flaw] = []

    def reading(self, at: datetime | None = None, model: str | None = None) -> Reading:
        """All that was found. Results come first: every API wants them there."""
        return Reading(tuple(self.results + self.items), tuple(self._flaws), at, model)

    def flaw(self, kind: str, text: str) -> None:
        """Reports something that could not be read as it stands."""
        self._flaws.append(Flaw(kind, text))

    def take(self, format_: ForeignFormat, read: Callable[[Findings, Any], Read], given: Any) -> Read:
        """Reads what is in another format, in its place. That a text follows a call is a fault of that format only."""
        inner = Findings(format_)
        read_as = read(inner, given)
        self.items += inner.results + inner.items
        self._flaws += (flaw for flaw in inner._flaws if flaw.kind != "text_after_call")
        return read_as

    def text(self, value: Any, field: str) -> str | None:
        """The value of a field that holds text. Anything else is a flaw, and None."""
        if value is None or isinstance(value, str):
            return value
        self.flaw("bad_field", f"{field} is not a text")
        return None

    def add_call(self, calls: Calls, call: ForeignCall, beside: dict[str, Any] | None = None) -> bool:
        """Adds the call to those of its message, with what stands `beside` it. False if it repeats one of them: that is
        a flaw."""
        if call.id and call in calls:
            self.flaw("duplicate_call_id", f"one message has the call {quoted(call.id)} twice")
            return False
        calls.add(call, beside)
        return True


def kind_of(value: Any, field: str = "type") -> str:
    """What the object says it is, in this field; the empty text where it says nothing."""
    kind = value.get(field) if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""


def objects(value: Any) -> tuple[dict[str, Any], ...]:
    """The objects in a list; nothing where it is no list."""
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
