"""What every event has, and the values that events are made of."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from turnlog.domain.values import Frozen, JsonObject, Text

Role = Literal["system", "developer", "user", "assistant", "function"]
ResultStatus = Literal["pending", "final", "error"]
Content = Text | tuple[JsonObject, ...]


def is_unset(value: object) -> bool:
    """Whether a field is not written. A field that was added later is left out when it has its default, so old values
    keep their bytes."""
    return not value


class Event(Frozen):
    """What every event has: `at`, the time (UTC) at which it was decided."""

    topic: ClassVar[str]

    at: datetime


class ToolCall(Frozen):
    """A whole tool call, as it stands in an assistant message. `arguments` is the raw string."""

    id: Text
    name: Text
    arguments: Text = ""


class FunctionCall(Frozen):
    """The legacy `function_call` of an assistant message."""

    name: Text
    arguments: Text = ""
