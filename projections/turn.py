"""A turn and what it holds: messages, steps, tool results, usage reports, faults and repairs. Frozen pydantic models.

A *step* is one LLM response. It has one assistant message, whatever was recorded in between. A *turn* is what the user
sent and all steps that answer it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from turnlog.domain.events import Content, Correction, FunctionCall, ResultStatus, Role, ToolCall
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.values import Frozen, JsonObject, Text

StepStatus = Literal["open", "finished", "interrupted", "failed", "abandoned"]


class ToolResult(Frozen):
    """The latest result of a call. `index` names the call inside its step. A repair makes up the synthetic ones.

    `origin`, here and below, is the format of an imported message; None for what was recorded.
    """

    call_id: Text
    index: int
    status: ResultStatus | Literal["synthetic"]
    content: Content
    position: int
    at: datetime
    origin: ForeignFormat | None = None


class StepToolCall(ToolCall):
    """A tool call of a step. `index` identifies it there, because ids may be missing or come back."""

    index: int


class StepMessage(Frozen):
    """The assistant message of a step. `content` is None when no text came; texts are byte for byte as sent."""

    role: Literal["assistant"] = "assistant"
    content: Content | None = None
    refusal: Text | None = None
    reasoning: Text | None = None
    reasoning_details: tuple[JsonObject, ...] = ()
    tool_calls: tuple[StepToolCall, ...] = ()
    function_call: FunctionCall | None = None
    name: Text | None = None


class Step(Frozen):
    """One LLM response.

    `position` is that of the event which opened it; `note` says why it was interrupted, failed or abandoned.
    `tool_results` are in the order in which the calls were first answered.
    """

    step_id: str
    position: int
    message: StepMessage
    tool_results: tuple[ToolResult, ...] = ()
    status: StepStatus
    finish_reason: Text | None = None
    note: Text | None = None
    model: Text | None = None
    response_id: Text | None = None
    usage: JsonObject | None = None
    started_at: datetime
    ended_at: datetime | None = None
    origin: ForeignFormat | None = None

    @property
    def says_something(self) -> bool:
        """Whether there is anything that an assistant message could hold."""
        message = self.message
        return bool(message.content or message.refusal or message.tool_calls or message.function_call)

    def result_of(self, index: int) -> ToolResult | None:
        """The latest result of the call at `index`, if any."""
        return self.results().get(index)

    def unanswered_calls(self) -> tuple[StepToolCall, ...]:
        """The calls that have no result at all, not even a pending one."""
        results = self.results()
        return tuple(call for call in self.message.tool_calls if call.index not in results)

    def results(self) -> dict[int, ToolResult]:
        """The latest result of each answered call, by the call's index."""
        return {result.index: result for result in self.tool_results}


class Message(Frozen):
    """A message that is not a step's: system, developer, user, or a legacy function result.

    A `queued` message was sent while the step before it was open or had unanswered calls, and that is still so. The
    next prompt has it after that step and its results.
    """

    message_id: str
    position: int
    role: Role
    content: Content | None
    name: Text | None = None
    at: datetime
    origin: ForeignFormat | None = None
    queued: bool = False

    @property
    def is_pinned(self) -> bool:
        """Whether every prompt has it, however old it is: a system or developer message."""
        return self.role in ("system", "developer")


class Fault(Frozen):
    """Something in the history that does not fit. Nothing is dropped silently.

    `position` is that of the event, `index` that of the call inside its step. `message` is a sentence for people.
    `provider_error` is what a provider answers when the history is sent as it stands; empty if none objects.
    """

    kind: Text
    position: int
    index: int | None = None
    message: Text
    provider_error: Text = ""


class Compaction(Frozen):
    """A summary that prompts have instead of what began at or before `upto`. `position` is that of its event."""

    summary: Text
    upto: int
    position: int


class Repair(Frozen):
    """The corrections of one repair to one turn."""

    repair_id: str
    corrections: tuple[Correction, ...]


class UsageEntry(Frozen):
    """One usage report, verbatim. `step_id` is None for usage that was reported outside a step."""

    step_id: str | None
    position: int
    model: Text | None = None
    usage: JsonObject


class Usage(Frozen):
    """Totals over all entries, in tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    entries: tuple[UsageEntry, ...] = ()


class Turn(Frozen):
    """What the user sent and what answered it. `position` is that of the last event that changed or closed the turn.

    `orphans` are imported results without a call, `flaws` what was found wrong while events were read. In a
    SessionView the repairs have been applied, and `faults` are those that remain.
    """

    index: int
    position: int
    messages: tuple[Message, ...] = ()
    steps: tuple[Step, ...] = ()
    usage_reports: tuple[UsageEntry, ...] = ()
    orphans: tuple[ToolResult, ...] = ()
    flaws: tuple[Fault, ...] = ()
    faults: tuple[Fault, ...] = ()
    repairs: tuple[Repair, ...] = ()

    @property
    def status(self) -> StepStatus:
        """That of the last step. Open while a step is open, while there is none, or while a finished last step has
        unanswered calls."""
        if not self.steps or any(step.status == "open" for step in self.steps):
            return "open"
        last = self.steps[-1]
        return "open" if last.status == "finished" and last.unanswered_calls() else last.status

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to come: the last step has ended, and it called no tools.

        A finished step that called tools does not end the turn, even when all calls are answered: the model is asked
        again.
        """
        if self.status == "open":
            return False
        message = self.steps[-1].message
        return self.steps[-1].status != "finished" or not (message.tool_calls or message.function_call)

    def entries(self) -> list[Message | Step]:
        """The messages and steps in the order of the log."""
        entries: list[Message | Step] = [*self.messages, *self.steps]
        return sorted(entries, key=lambda entry: entry.position)

    def has_replaced(self, step: Step) -> bool:
        """Whether a step of this turn is an attempt that a later one replaced."""
        # An attempt whose calls were answered was continued and not made again.
        return step.status in ("failed", "abandoned") and not step.tool_results and step is not self.steps[-1]
