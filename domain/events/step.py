"""Events of a step: its beginning, its deltas, its end, and the results of its calls."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turnlog.domain.events.base import Content, Event, ResultStatus, is_unset
from turnlog.domain.parts import PartApi, PartKind
from turnlog.domain.values import JsonObject, Text

StepStatus = Literal["open", "finished", "interrupted", "failed", "abandoned"]


class CompletionStarted(Event):
    """Opens a step. `model` is what the handler asked for. `writer` is the id of who writes it; logs from before there
    were leases have none. The writer counts as alive for `lease_seconds` after its last sign of life.

    `turn_id` is the turn that the step belongs to, if that has an owner. `supersedes` is a step of that turn which
    broke off, and whose answer is made again; `continues` is one that this step goes on with where it broke off."""

    topic = "completion-started.v1"

    step_id: str
    model: Text | None = None
    writer: str = Field(default="", exclude_if=is_unset)
    lease_seconds: float | None = Field(default=None, exclude_if=is_unset)
    turn_id: str = Field(default="", exclude_if=is_unset)
    supersedes: str = Field(default="", exclude_if=is_unset)
    continues: str = Field(default="", exclude_if=is_unset)


class TextDelta(Event):
    topic = "text-delta.v1"

    step_id: str
    text: Text


class RefusalDelta(Event):
    topic = "refusal-delta.v1"

    step_id: str
    text: Text


class ReasoningDelta(Event):
    """`details` are the provider's `reasoning_details`, verbatim: a later request must send them back unchanged. Older
    logs have only those that hold more than text (signatures, encrypted blocks)."""

    topic = "reasoning-delta.v1"

    step_id: str
    text: Text = ""
    details: tuple[JsonObject, ...] = ()


class PartStarted(Event):
    """Opens a part of the step's message, behind the others; parts are numbered from 1. The fragments that follow
    belong to the part of their kind that was opened or extended last. `data` is what the API said of the part besides
    its text, verbatim. `call` is the index of the tool call that the part is."""

    topic = "part-started.v1"

    step_id: str
    part: int
    kind: PartKind
    api: PartApi
    call: int | None = None
    data: JsonObject = {}


class PartDelta(Event):
    """Continues a text inside the data of a part: what is said in audio, the input of a server's tool."""

    topic = "part-delta.v1"

    step_id: str
    part: int
    field: Text
    text: Text


class PartExtended(Event):
    """More about a part, verbatim: see `domain.parts.extended`."""

    topic = "part-extended.v1"

    step_id: str
    part: int
    data: JsonObject


class ToolCallStarted(Event):
    """Opens a call. Its step knows it by its index, never by its id alone: ids come back in later turns. The arguments
    of a `custom` tool are any text, and not JSON."""

    topic = "tool-call-started.v1"

    step_id: str
    index: int
    id: Text = ""
    name: Text = ""
    custom: bool = Field(default=False, exclude_if=is_unset)


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
    """What the four ends of a step share. `model` and `response_id` are what the provider reported, and `details` is
    what else it said of the response as a whole: its `service_tier`, for one."""

    step_id: str
    model: Text | None = None
    response_id: Text | None = None
    usage: JsonObject | None = None
    details: JsonObject | None = Field(default=None, exclude_if=is_unset)


class CompletionFinished(CompletionEnded):
    """The natural end of the stream."""

    topic = "completion-finished.v1"

    finish_reason: Text | None


class CompletionInterrupted(CompletionEnded):
    """Stopped from this side: cancelled, or closed early. The partial answer stays."""

    topic = "completion-interrupted.v1"

    reason: Text


class CompletionFailed(CompletionEnded):
    """The provider or the handler raised an error. The partial answer stays. `failure` is what the provider said: its
    HTTP `status`, and the `type`, `code` and `message` of its error, as far as there are any."""

    topic = "completion-failed.v1"

    error: Text
    failure: JsonObject | None = Field(default=None, exclude_if=is_unset)


class CompletionAbandoned(CompletionEnded):
    """The writer has left the step unfinished, or is gone and somebody else closed it. The partial answer stays."""

    topic = "completion-abandoned.v1"

    reason: Text


class ToolResultAdded(Event):
    """The result of a call. `step_id` and `index` name the call, so no reader has to search for it. `late`: another
    response had begun since the call was made, or had its pending result; so the model has gone on without this one."""

    topic = "tool-result-added.v1"

    step_id: str
    index: int
    call_id: Text
    status: ResultStatus
    content: Content
    late: bool = Field(default=False, exclude_if=is_unset)
