"""Spans that are open, by the id of what they are about: a run of a turn, a step, a tool at work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from turnlog.infrastructure.otel import names

MAX_OPEN = 10_000
"""Spans of a kind that are open at most: the oldest is ended for the next one."""


class HasSpan(Protocol):
    """What a span is about."""

    @property
    def span(self) -> Span: ...


Held = TypeVar("Held", bound=HasSpan)


class OpenSpans(Generic[Held]):
    """The open spans of one kind."""

    def __init__(self, limit: int = MAX_OPEN) -> None:
        self._limit = limit
        self._held: OrderedDict[str, Held] = OrderedDict()

    def __setitem__(self, held_id: str, held: Held) -> None:
        self._held[held_id] = held
        if len(self._held) > self._limit:
            _, oldest = self._held.popitem(last=False)
            oldest.span.end()

    def get(self, held_id: str) -> Held | None:
        """What has this id, if its span is open."""
        return self._held.get(held_id)

    def pop(self, held_id: str) -> Held | None:
        """The same, which is not open any more: the caller ends it, or drops it."""
        return self._held.pop(held_id, None)


class Current:
    """Makes a context the current one, for a block. It gives back no token, as the block may be left in another task
    than it was entered in; and a block that is never left changes nothing when it is collected."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._before = context

    def __enter__(self) -> None:
        self._before = contexts.get_current()
        contexts.attach(self._context)

    def __exit__(self, *_: object) -> None:
        contexts.attach(self._before)


def end(span: Span, attributes: Mapping[str, AttributeValue | None], error: str | None = None, text: str = "") -> None:
    """Ends a span. `error` is the type of what went wrong, and `text` what was said of it, where that is wanted."""
    if span.is_recording():
        span.set_attributes({key: value for key, value in attributes.items() if value is not None})
        if error is not None:
            span.set_attribute(names.ERROR_TYPE, error)
            span.set_status(Status(StatusCode.ERROR, text or None))
    span.end()
