"""A step, one LLM response: its assistant message, its calls, and what came of them. Frozen pydantic models."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import computed_field

from turnlog.domain.events import Content, FunctionCall, ResultStatus, StepStatus, ToolCall
from turnlog.domain.finish_reasons import meaning_of
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.parts import PartMark
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.parts import SAYING, Part, Texts, parts_of, usual_marks


class ToolResult(Frozen):
    """The latest result of a call. `index` names the call inside its step. A repair makes up the synthetic ones.

    `sent` is what prompts go on to have in its place: the model had gone on before it came (see LateResult).
    `was_missing`: the model had gone on without even a pending one. `data` is what its API says of it besides.
    `origin`, here and below, is the format of an imported message; None for what was recorded.
    """

    call_id: Text
    index: int
    status: ResultStatus | Literal["synthetic"]
    content: Content
    position: int
    at: datetime
    sent: Content | None = None
    was_missing: bool = False
    data: JsonObject = {}
    origin: ForeignFormat | None = None


class LateResult(Frozen):
    """The final result of a call that came when the model had gone on without it. It stands as a message of its own
    where it came, and what was sent before stays as it was. `name` and `arguments` are those of the call."""

    step_id: str
    index: int
    call_id: Text
    name: Text
    arguments: Text
    status: ResultStatus
    content: Content
    position: int
    at: datetime


class ToolRun(Frozen):
    """A tool was started for the call at `index`, for the `attempt`-th time, by the owner of the turn in this `run`.
    `late`, here and in Approval: the model had gone on by then, and prompts go on to say of the call what they said."""

    index: int
    attempt: int
    run: str
    position: int
    at: datetime
    late: bool = False


class Approval(Frozen):
    """Somebody has to decide whether the tool of the call at `index` may run. `approved` is None until somebody has.
    `by` says who that was, `reason` why; `for_turn` that calls of this tool need no other decision in the turn."""

    index: int
    position: int
    at: datetime
    approved: bool | None = None
    by: Text = ""
    reason: Text = ""
    for_turn: bool = False
    decided_at: datetime | None = None
    late: bool = False


class StepToolCall(ToolCall):
    """A tool call of a step. `index` identifies it there, because ids may be missing or come back. The `arguments` of a
    `custom` tool are any text, and not JSON.

    `cut_off`: the step ended before the arguments were whole. Nobody has to run such a call, and prompts leave it out.
    """

    index: int
    custom: bool = False
    cut_off: bool = False


class OpenToolCall(StepToolCall):
    """A call without a final result, with its step and the index of its turn. `waits_for`: the result of what was
    started, or somebody's decision; None if its tool has to run."""

    step_id: str
    turn: int
    waits_for: Literal["result", "decision"] | None = None

    def of_session(self, session_id: UUID) -> WaitingToolCall:
        """The call with its session."""
        return WaitingToolCall(**dict(self), session_id=session_id)


class WaitingToolCall(OpenToolCall):
    """A call that waits for somebody outside, and its session."""

    session_id: UUID


class StepMessage(Frozen):
    """The assistant message of a step. `content` is None when no text came; texts are byte for byte as sent.

    `parts` is the same in the order in which the model made it, with all that the provider said. `layout` is how that
    is kept: see PartMark. It is empty where there is one part of each kind.
    """

    role: Literal["assistant"] = "assistant"
    content: Content | None = None
    refusal: Text | None = None
    reasoning: Text | None = None
    reasoning_details: tuple[JsonObject, ...] = ()
    tool_calls: tuple[StepToolCall, ...] = ()
    function_call: FunctionCall | None = None
    name: Text | None = None
    layout: tuple[PartMark, ...] = ()

    @computed_field  # type: ignore[prop-decorator]  # mypy takes no decorator above a property
    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts in order: reasoning, text, refusal and calls where nothing says otherwise. A legacy
        `function_call` is no part."""
        content = self.content if isinstance(self.content, str) else None
        texts = Texts({"text": content, "reasoning": self.reasoning, "refusal": self.refusal})
        return parts_of(self.marks(), texts)

    @property
    def calls_something(self) -> bool:
        """Whether there is a call that was not cut off."""
        return self.function_call is not None or any(not call.cut_off for call in self.tool_calls)

    def marks(self) -> tuple[PartMark, ...]:
        """The layout; that of the usual order where there is none."""
        if self.layout:
            return self.layout
        calls = (call.index for call in self.tool_calls)
        return tuple(usual_marks(self.reasoning, self.content, self.refusal, calls))


class Step(Frozen):
    """One LLM response.

    `position` is that of the event which opened it; `note` says why it was interrupted, failed or abandoned, and
    `failure` what the provider said. `tool_results` are in the order in which the calls were first answered.

    `details` is what the provider said of the response besides. `supersedes` is an earlier step, which broke off and
    whose answer is made again by this one; `continues` is one that this step goes on with. `tool_runs` and `approvals`
    are those of its calls, in the order of the log.
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
    details: JsonObject | None = None
    started_at: datetime
    ended_at: datetime | None = None
    origin: ForeignFormat | None = None
    failure: JsonObject | None = None
    supersedes: str | None = None
    continues: str | None = None
    tool_runs: tuple[ToolRun, ...] = ()
    approvals: tuple[Approval, ...] = ()

    @property
    def says_something(self) -> bool:
        """Whether there is anything that an assistant message could hold."""
        message = self.message
        says = message.content or message.refusal or message.tool_calls or message.function_call
        return bool(says) or any(mark.kind in SAYING for mark in message.layout)

    @property
    def is_paused(self) -> bool:
        """Whether the provider goes on with the answer when it is sent back."""
        return self.status == "finished" and meaning_of(self.finish_reason) == "paused"

    def result_of(self, index: int) -> ToolResult | None:
        """The latest result of the call at `index`, if any."""
        return self.results().get(index)

    def unanswered_calls(self) -> tuple[StepToolCall, ...]:
        """The calls that have no result at all, not even a pending one, and were not cut off."""
        results = self.results()
        return tuple(call for call in self.message.tool_calls if call.index not in results and not call.cut_off)

    def waiting(self) -> dict[int, Literal["result", "decision"]]:
        """What calls wait for, by their index: the final result of what was started, or somebody's decision."""
        results, waiting = self.results(), dict[int, Literal["result", "decision"]]()
        for approval in self.approvals:
            if approval.approved is None and approval.index not in results:
                waiting[approval.index] = "decision"
        for result in results.values():
            if result.status == "pending":
                waiting[result.index] = "result"
        return waiting

    def open_calls(self, turn: int) -> tuple[OpenToolCall, ...]:
        """The calls that have no final result, in the turn with this index."""
        results, waiting = self.results(), self.waiting()
        return tuple(
            OpenToolCall(
                index=call.index,
                id=call.id,
                name=call.name,
                arguments=call.arguments,
                custom=call.custom,
                cut_off=call.cut_off,
                step_id=self.step_id,
                turn=turn,
                waits_for=waiting.get(call.index),
            )
            for call in self.message.tool_calls
            if call.index in waiting or not (call.cut_off or call.index in results)
        )

    @property
    def was_gone_on_from(self) -> bool:
        """Whether a call had a result before the model was asked again. Such an attempt was not made again, however it
        ended."""
        return any(not result.was_missing for result in self.tool_results)

    def results(self) -> dict[int, ToolResult]:
        """The latest result of each answered call, by the call's index."""
        return {result.index: result for result in self.tool_results}
