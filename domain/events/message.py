"""Events that bring a whole message."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field

from turnlog.domain.events.base import Content, Event, FunctionCall, Role, ToolCall, is_unset
from turnlog.domain.foreign import ForeignFormat, Reading, read_foreign
from turnlog.domain.values import JsonObject, Text


class MessageAdded(Event):
    """A whole message. An assistant message that was not streamed is a step of its own, with the message's id.

    `queued`: a turn was in hand, and this message of the user begins one of its own after it."""

    topic = "message-added.v1"

    message_id: str
    role: Role
    content: Content | None
    name: Text | None = None
    refusal: Text | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    function_call: FunctionCall | None = None
    queued: bool = Field(default=False, exclude_if=is_unset)


class MessageImported(Event):
    """A message of another system's history, verbatim. It is interpreted only when events are folded."""

    topic = "message-imported.v1"

    message_id: str
    format: ForeignFormat
    message: JsonObject

    @cached_property
    def reading(self) -> Reading:
        """What the message says. It is read once, for everybody who folds the event."""
        return read_foreign(self.format, self.message)


def imported_step_id(message_id: str, index: int) -> str:
    """The id of the step that item `index` of an imported message becomes: a message may hold several items."""
    return f"{message_id}.{index}" if index else message_id
