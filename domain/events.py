"""The events: what happened, in the past tense, one frozen model each.

A topic such as `text-delta.v1` is a stored name and never follows a rename of the class. To change the shape of an
event, add a class with the next version, and an upcaster from the old shape (see infrastructure/store/mapper).
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from turnlog.domain.foreign import ForeignFormat, Reading, read_foreign
from turnlog.domain.values import Frozen, JsonObject, Text

Role = Literal["system", "developer", "user", "assistant", "function"]
ResultStatus = Literal["pending", "final", "error"]
Content = Text | tuple[JsonObject, ...]
CorrectionAction = Literal["none", "join", "leave_out", "leave_out_call", "answer", "empty_arguments"]
"""What a repair does. `none`: the view is right already, and the correction only says so."""


def _is_unset(value: object) -> bool:
    # A field that was added later is not written when it has its default, so old values keep their bytes.
    return not value


class Event(Frozen):
    """What every event has: `at`, the time (UTC) at which it was decided."""

    topic: ClassVar[str]

    at: datetime


class SessionStarted(Event):
    topic = "session-started.v1"

    user_id: str | None
    title: Text | None = None
    metadata: JsonObject = {}


class OwnerAssigned(Event):
    topic = "owner-assigned.v1"

    user_id: str


class SessionTitled(Event):
    topic = "session-titled.v1"

    title: Text


class MetadataSet(Event):
    """`patch` is a JSON Merge Patch (RFC 7386)."""

    topic = "metadata-set.v1"

    patch: JsonObject


class CounterIncremented(Event):
    """`id` tells two equal increments apart."""

    topic = "counter-incremented.v1"

    id: str
    counter: Text
    key: Text
    by: int


class ToolCall(Frozen):
    """A whole tool call, as it stands in an assistant message. `arguments` is the raw string."""

    id: Text
    name: Text
    arguments: Text = ""


class FunctionCall(Frozen):
    """The legacy `function_call` of an assistant message."""

    name: Text
    arguments: Text = ""


class MessageAdded(Event):
    """A whole message. An assistant message that was not streamed is a step of its own, with the message's id."""

    topic = "message-added.v1"

    message_id: str
    role: Role
    content: Content | None
    name: Text | None = None
    refusal: Text | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    function_call: FunctionCall | None = None


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


class CompletionStarted(Event):
    """Opens a step. `model` is what the handler asked for. `writer` is the id of who writes it; logs from before there
    were leases have none. The writer counts as alive for `lease_seconds` after its last sign of life."""

    topic = "completion-started.v1"

    step_id: str
    model: Text | None = None
    writer: str = Field(default="", exclude_if=_is_unset)
    lease_seconds: float | None = Field(default=None, exclude_if=_is_unset)


class TextDelta(Event):
    topic = "text-delta.v1"

    step_id: str
    text: Text


class RefusalDelta(Event):
    topic = "refusal-delta.v1"

    step_id: str
    text: Text


class ReasoningDelta(Event):
    """`details` are those of the provider's `reasoning_details` that hold more than text (signatures, encrypted
    blocks), verbatim: a later request must send them back unchanged."""

    topic = "reasoning-delta.v1"

    step_id: str
    text: Text = ""
    details: tuple[JsonObject, ...] = ()


class ToolCallStarted(Event):
    """Opens a call. Its step knows it by its index, never by its id alone: ids come back in later turns."""

    topic = "tool-call-started.v1"

    step_id: str
    index: int
    id: Text = ""
    name: Text = ""


class ToolCallNamed(Event):
    """The id or the name of a call came, or was continued, after the first fragment. `name` is the whole name."""

    topic = "tool-call-named.v1"

    step_id: str
    index: int
    id: Text
    name: Text


class ToolCallArgumentsDelta(Event):
    topic = "tool-call-arguments-delta.v1"

    step_id: str
    index: int
    arguments: Text


class FunctionCallDelta(Event):
    """A fragment of the legacy `function_call`. The first one has the name."""

    topic = "function-call-delta.v1"

    step_id: str
    name: Text = ""
    arguments: Text = ""


class CompletionEnded(Event):
    """What the four ends of a step share. `model` and `response_id` are what the provider reported."""

    step_id: str
    model: Text | None = None
    response_id: Text | None = None
    usage: JsonObject | None = None


class CompletionFinished(CompletionEnded):
    """The natural end of the stream."""

    topic = "completion-finished.v1"

    finish_reason: Text | None


class CompletionInterrupted(CompletionEnded):
    """Stopped from this side: cancelled, or closed early. The partial answer stays."""

    topic = "completion-interrupted.v1"

    reason: Text


class CompletionFailed(CompletionEnded):
    """The provider or the handler raised an error. The partial answer stays."""

    topic = "completion-failed.v1"

    error: Text


class CompletionAbandoned(CompletionEnded):
    """The writer is gone, and somebody else closed its step. The partial answer stays."""

    topic = "completion-abandoned.v1"

    reason: Text


class ToolResultAdded(Event):
    """The result of a call. `step_id` and `index` name the call, so no reader has to search for it."""

    topic = "tool-result-added.v1"

    step_id: str
    index: int
    call_id: Text
    status: ResultStatus
    content: Content


class UsageReported(Event):
    """Usage outside a recorded step. `id` tells two equal reports apart."""

    topic = "usage-reported.v1"

    id: str
    model: Text | None = None
    usage: JsonObject


class Correction(Frozen):
    """What a repair does about one fault, of the kind `fault`: at the position of an event, the index of a call in its
    step, and the index of a turn. `text` says what is done and why; `separator` goes between texts that are joined."""

    fault: Text
    position: int
    index: int | None = None
    turn: int
    action: CorrectionAction
    separator: Text = ""
    text: Text


class SessionRepaired(Event):
    """Corrections of what the events up to the position `upto` say. The events stay; the view is corrected."""

    topic = "session-repaired.v1"

    repair_id: str
    upto: int
    corrections: tuple[Correction, ...]


class RepairWithdrawn(Event):
    """The corrections of an earlier repair no longer apply."""

    topic = "repair-withdrawn.v1"

    repair_id: str


class ContextCompacted(Event):
    """From here on a prompt has `summary` instead of what began at or before the position `upto`."""

    topic = "context-compacted.v1"

    summary: Text
    upto: int


class SessionForked(Event):
    """All earlier events of this session are copies of the first `upto` events of the session `source`."""

    topic = "session-forked.v1"

    source: UUID
    upto: int


class SessionDeleted(Event):
    topic = "session-deleted.v1"


Fragment = TextDelta | RefusalDelta | ReasoningDelta | ToolCallArgumentsDelta | FunctionCallDelta
"""The deltas that only continue a text of their step. Nearly all events are fragments."""
StepDelta = Fragment | ToolCallStarted | ToolCallNamed
"""What a response brings between the start and the end of its step."""
StepEnd = CompletionFinished | CompletionInterrupted | CompletionFailed | CompletionAbandoned
SessionEvent = (
    SessionStarted
    | OwnerAssigned
    | SessionTitled
    | MetadataSet
    | CounterIncremented
    | MessageAdded
    | CompletionStarted
    | StepDelta
    | StepEnd
    | ToolResultAdded
    | UsageReported
    | MessageImported
    | SessionRepaired
    | RepairWithdrawn
    | ContextCompacted
    | SessionForked
    | SessionDeleted
)

EVENT_TYPES: tuple[type[SessionEvent], ...] = SessionEvent.__args__
STEP_DELTAS: tuple[type[StepDelta], ...] = StepDelta.__args__
FRAGMENTS: tuple[type[Fragment], ...] = Fragment.__args__
