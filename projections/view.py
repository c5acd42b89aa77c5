"""The session view: turns of messages and steps. Frozen pydantic models that round-trip through JSON.

A *step* is one LLM response and holds one assistant message, whatever was recorded in between. A *turn* is what the
user sent and all steps that answer it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from turnlog.domain.events import Content, Correction, FunctionCall, ResultStatus, Role, ToolCall
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.values import Frozen, JsonObject, Text

StepStatus = Literal["open", "finished", "interrupted", "failed", "abandoned"]


class ToolResult(Frozen):
    """The latest result of a call. `index` names the call inside its step. A synthetic one was made up by a repair.

    `origin`, here and elsewhere, is the format of an imported message, None for what was recorded.
    """

    call_id: Text
    index: int
    status: ResultStatus | Literal["synthetic"]
    content: Content
    position: int
    at: datetime
    origin: ForeignFormat | None = None


class StepToolCall(ToolCall):
    """A tool call of a step; `index` is what names it there, for ids may be missing or come back."""

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
    """One LLM response. `position` is where it began; `note` says why it was interrupted, failed or abandoned."""

    step_id: str
    position: int
    message: StepMessage
    tool_results: tuple[ToolResult, ...] = ()  # in the order in which the calls were first answered
    status: StepStatus
    finish_reason: Text | None = None
    note: Text | None = None
    model: Text | None = None
    response_id: Text | None = None
    usage: JsonObject | None = None
    started_at: datetime
    ended_at: datetime | None = None
    origin: ForeignFormat | None = None

    def result_of(self, index: int) -> ToolResult | None:
        """The latest result of the call at `index`, if any."""
        return self.results().get(index)

    def unanswered_calls(self) -> tuple[StepToolCall, ...]:
        """The calls that have no result at all, not even a pending one."""
        results = self.results()
        return tuple(call for call in self.message.tool_calls if call.index not in results)

    def results(self) -> dict[int, ToolResult]:
        """The latest results of the calls, by index."""
        return {result.index: result for result in self.tool_results}


class Message(Frozen):
    """A message that is not a step: system, developer, user, or a legacy function result.

    A `queued` one was sent while the step before it was open, or had calls to answer, and still is: it is in the
    prompt behind that step and its results.
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
        """Whether it is sent however far back it is: a system or developer message."""
        return self.role in ("system", "developer")


class Fault(Frozen):
    """Something in the history that does not fit; nothing is dropped silently.

    `position` is that of the event, `index` that of the call inside its step. `message` is a sentence for people;
    `provider_error` is what a provider answers when the history is sent as it stands, empty where none does.
    """

    kind: Text
    position: int
    index: int | None = None
    message: Text
    provider_error: Text = ""


class Compaction(Frozen):
    """A summary that prompts have in place of what began at or before `upto`. `position` is the event's."""

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

    `orphans` are imported results of no call, `flaws` what was found wrong while the events were read. In a
    SessionView the repairs have been applied, and `faults` are those that are left.
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
        """That of the last step; open while one is open, none has begun, or a finished one has calls to answer."""
        if not self.steps or any(step.status == "open" for step in self.steps):
            return "open"
        last = self.steps[-1]
        return "open" if last.status == "finished" and last.unanswered_calls() else last.status

    @property
    def has_ended(self) -> bool:
        """Whether no more is to come: the last step has ended, and it called no tools.

        One that did, and finished, is not the end of a turn, also when all calls are answered: the model is asked
        again.
        """
        if self.status == "open":
            return False
        message = self.steps[-1].message
        return self.steps[-1].status != "finished" or not (message.tool_calls or message.function_call)


class SessionView(Frozen):
    """The whole session as it is at `version`, the position of the last event."""

    session_id: UUID
    user_id: str | None
    title: Text | None
    metadata: JsonObject
    counters: dict[str, dict[str, int]]
    version: int
    started_at: datetime
    updated_at: datetime
    turns: tuple[Turn, ...]
    usage: Usage
    compaction: Compaction | None = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as a flat list in the Chat Completions shape, as it was recorded."""
        from turnlog.projections.messages import transcript  # noqa: PLC0415 it needs the models above

        return transcript(self.turns)

    @property
    def pending_tool_calls(self) -> tuple[StepToolCall, ...]:
        """The calls of finished steps that have no result yet, oldest first: what a handler has to run now.

        A call with a pending result is not among them, for it is being run.
        """
        return tuple(
            call
            for turn in self.turns
            for step in turn.steps
            if step.status == "finished"
            for call in step.unanswered_calls()
        )

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What does not fit, oldest first."""
        return tuple(fault for turn in self.turns for fault in turn.faults)


class SessionSummary(Frozen):
    """A line of a list of sessions: no messages. While an answer is streaming `updated_at` may lag by a second."""

    session_id: UUID
    user_id: str | None
    title: Text | None
    started_at: datetime
    updated_at: datetime
    version: int


class SessionPage(Frozen):
    """A page of a list and the total behind it, from one snapshot of the database."""

    items: tuple[SessionSummary, ...]
    total: int
