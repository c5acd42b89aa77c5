"""Commands that append to an open step. See `domain.commands` for what a command is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from turnlog.domain.events import ToolCall
from turnlog.domain.parts import PartApi, PartKind
from turnlog.domain.values import JsonObject


@dataclass(slots=True)
class StepAppend:
    """Goes into an open step. Unlike the other commands it is not frozen: one is made for every delta, and freezing
    doubles the cost of making it."""

    at: datetime
    step_id: str


@dataclass(slots=True)
class AppendText(StepAppend):
    text: str


@dataclass(slots=True)
class AppendRefusal(StepAppend):
    text: str


@dataclass(slots=True)
class AppendReasoning(StepAppend):
    text: str
    details: tuple[JsonObject, ...] = ()


@dataclass(slots=True)
class AppendToolCall(StepAppend):
    """A fragment of a call. The first fragment of an index opens the call; id and name may come, or continue, later."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    custom: bool = False


@dataclass(slots=True)
class AppendWholeToolCall(StepAppend):
    """A complete call. Repeating it changes nothing."""

    call: ToolCall


@dataclass(slots=True)
class AppendFunctionCall(StepAppend):
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class StartPart(StepAppend):
    """Opens a part. The fields are those of PartStarted."""

    part: int
    kind: PartKind
    api: PartApi
    call: int | None = None
    data: JsonObject = field(default_factory=dict)


@dataclass(slots=True)
class AppendToPart(StepAppend):
    """Continues a text in the data of a part."""

    part: int
    field: str
    text: str


@dataclass(slots=True)
class ExtendPart(StepAppend):
    """More about a part. With no data it says only that what follows belongs to this part."""

    part: int
    data: JsonObject = field(default_factory=dict)


AnyStepAppend = (
    AppendText
    | AppendRefusal
    | AppendReasoning
    | AppendToolCall
    | AppendWholeToolCall
    | AppendFunctionCall
    | StartPart
    | AppendToPart
    | ExtendPart
)
