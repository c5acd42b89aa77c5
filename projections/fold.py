"""Turns and steps while events still change them: their parts are in lists, which are joined when they are frozen.

Appending each delta to an immutable text would take a time that grows with the square of its length.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from turnlog.domain.events import (
    STATUS_OF_END,
    CompletionAbandoned,
    CompletionFailed,
    CompletionFinished,
    CompletionInterrupted,
    CompletionStarted,
    FunctionCall,
    FunctionCallDelta,
    ReasoningDelta,
    StepEnd,
    ToolCallArgumentsDelta,
    ToolCallNamed,
    ToolCallStarted,
    TurnEnd,
    TurnEnded,
    TurnStarted,
)
from turnlog.domain.values import JsonObject
from turnlog.projections.ended import CallNotes, EndedFold, Orphans
from turnlog.projections.turn import (
    Fault,
    LateResult,
    Message,
    Repair,
    Step,
    StepMessage,
    StepToolCall,
    ToolResult,
    Turn,
    TurnRun,
    UsageEntry,
)


class CallFold:
    """A tool call whose arguments are still coming."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self, id: str, name: str, arguments: str = "") -> None:  # noqa: A002 the field's name
        self.id = id
        self.name = name
        self.arguments = [arguments]


class StepFold:
    """An open step."""

    __slots__ = (
        "base",
        "calls",
        "content",
        "details",
        "function_arguments",
        "function_name",
        "notes",
        "reasoning",
        "refusal",
        "results",
    )

    def __init__(self, base: Step) -> None:
        message = base.message
        self.base = base
        self.content = [message.content] if isinstance(message.content, str) else []
        self.refusal = [] if message.refusal is None else [message.refusal]
        self.reasoning = [] if message.reasoning is None else [message.reasoning]
        self.details: list[JsonObject] = list(message.reasoning_details)
        self.calls = {call.index: CallFold(call.id, call.name, call.arguments) for call in message.tool_calls}
        function = message.function_call
        self.function_name = [function.name] if function else []
        self.function_arguments = [function.arguments] if function else []
        self.results = base.results()
        self.notes = CallNotes(base)

    def add_reasoning(self, event: ReasoningDelta) -> None:
        if event.text:
            self.reasoning.append(event.text)
        self.details.extend(event.details)

    def start_call(self, event: ToolCallStarted) -> bool:
        """Opens a call. False if the step has a call of this index already."""
        if event.index in self.calls:
            return False
        self.calls[event.index] = CallFold(event.id, event.name)
        return True

    def name_call(self, event: ToolCallNamed) -> bool:
        """Sets the id and the name of a call. False if there is no such call."""
        call = self.calls.get(event.index)
        if call is None:
            return False
        call.id, call.name = event.id, event.name
        return True

    def add_arguments(self, event: ToolCallArgumentsDelta) -> bool:
        """Continues the arguments of a call. False if there is no such call."""
        call = self.calls.get(event.index)
        if call is None:
            return False
        call.arguments.append(event.arguments)
        return True

    def add_function_call(self, event: FunctionCallDelta) -> None:
        self.function_name.append(event.name)
        self.function_arguments.append(event.arguments)

    def add_result(self, result: ToolResult) -> bool:
        """Files a result under its call. False if there is no such call."""
        if result.index not in self.calls:
            return False
        self.results[result.index] = result
        return True

    def freeze(self) -> Step:
        """The step as it is now."""
        results = tuple(self.results.values())
        return self.base.model_copy(update={"message": self._message(), "tool_results": results, **self.notes.fields()})

    def changed(self) -> CallNotes:
        """The notes, which are about to change."""
        return self.notes

    def call(self, index: int) -> StepToolCall | None:
        """The call at this index."""
        return self._call(index) if index in self.calls else None

    def ended(self, event: StepEnd) -> Step:
        """The step as the event ends it."""
        return self.freeze().model_copy(
            update={
                "status": STATUS_OF_END[type(event)],
                "finish_reason": event.finish_reason if isinstance(event, CompletionFinished) else None,
                "note": note_of(event),
                "model": event.model or self.base.model,
                "response_id": event.response_id,
                "usage": event.usage,
                "failure": event.failure if isinstance(event, CompletionFailed) else None,
                "ended_at": event.at,
            }
        )

    def _message(self) -> StepMessage:
        return StepMessage(
            content=_text(self.content),
            refusal=_text(self.refusal),
            reasoning=_text(self.reasoning),
            reasoning_details=tuple(self.details),
            tool_calls=tuple(self._call(index) for index in sorted(self.calls)),
            function_call=self._function_call(),
        )

    def _call(self, index: int) -> StepToolCall:
        call = self.calls[index]
        call.arguments = ["".join(call.arguments)]
        return StepToolCall(index=index, id=call.id, name=call.name, arguments=call.arguments[0])

    def _function_call(self) -> FunctionCall | None:
        if not self.function_name:
            return None
        return FunctionCall(name="".join(self.function_name), arguments="".join(self.function_arguments))


def _text(parts: list[str]) -> str | None:
    if not parts:
        return None
    # The joined text replaces its parts: a view that is read often in mid-stream does not join them each time.
    parts[:] = ["".join(parts)]
    return parts[0]


def note_of(event: StepEnd) -> str | None:
    """Why the step ended as it did; None if it was finished."""
    match event:
        case CompletionFailed():
            return event.error
        case CompletionInterrupted() | CompletionAbandoned():
            return event.reason
        case CompletionFinished():
            return None


class TurnFold:
    """A turn that events still change."""

    __slots__ = (
        "_corrected",
        "flaws",
        "index",
        "is_queued",
        "late_results",
        "messages",
        "open_steps",
        "orphans",
        "position",
        "repairs",
        "runs",
        "steps",
        "turn_id",
        "usage_reports",
    )

    def __init__(self, turn: Turn) -> None:
        self.index = turn.index
        self.position = turn.position
        self.turn_id = turn.turn_id
        self.runs: list[TurnRun] = list(turn.runs)
        self.is_queued = turn.is_queued
        self.messages: list[Message] = list(turn.messages)
        self.late_results: list[LateResult] = list(turn.late_results)
        self.steps: dict[str, StepFold | EndedFold] = {
            step.step_id: StepFold(step) if step.status == "open" else EndedFold(step) for step in turn.steps
        }
        self.open_steps = sum(isinstance(step, StepFold) for step in self.steps.values())
        self.usage_reports: list[UsageEntry] = list(turn.usage_reports)
        self.orphans = Orphans(turn.orphans)
        self.flaws: list[Fault] = list(turn.flaws)
        self.set_repairs(turn.repairs)

    def freeze(self) -> Turn:
        """The turn as it is now."""
        return Turn(
            index=self.index,
            position=self.position,
            messages=tuple(self.messages),
            steps=tuple(step.freeze() for step in self.steps.values()),
            turn_id=self.turn_id,
            runs=tuple(self.runs),
            is_queued=self.is_queued,
            late_results=tuple(self.late_results),
            usage_reports=tuple(self.usage_reports),
            orphans=self.orphans.in_order(),
            flaws=tuple(self.flaws),
            repairs=self.repairs,
        )

    def set_repairs(self, repairs: Iterable[Repair]) -> None:
        """Has these repairs, and no others, apply to the turn."""
        self.repairs = tuple(repairs)
        self._corrected = max((c.position for repair in self.repairs for c in repair.corrections), default=0)

    def is_open(self) -> bool:
        return self.open_steps > 0 or self.is_queued or self.is_in_hand

    @property
    def is_in_hand(self) -> bool:
        return bool(self.runs) and self.runs[-1].status is None

    def begin_run(self, event: TurnStarted, position: int) -> None:
        """Somebody takes the turn in hand. A run that was open until now was abandoned."""
        if self.is_in_hand:
            self._end_run("abandoned", "", position, event.at)
        self.turn_id, self.is_queued = event.turn_id, False
        self.runs.append(TurnRun(run=event.run, writer=event.writer, position=position, started_at=event.at))

    def end_run(self, event: TurnEnded, position: int) -> None:
        """Ends the latest run, or says otherwise how it ended. A turn that nobody had begun has one that ends here."""
        if not self.runs or self.is_queued:
            self.turn_id, self.is_queued = event.turn_id, False
            self.runs.append(TurnRun(run=event.run, writer="", position=position, started_at=event.at))
        self._end_run(event.status, event.reason, position, event.at)

    def _end_run(self, status: TurnEnd, reason: str, position: int, at: datetime) -> None:
        ended = {"status": status, "reason": reason, "ended_position": position, "ended_at": at}
        self.runs[-1] = self.runs[-1].model_copy(update=ended)

    def has_ended(self) -> bool | None:
        """Whether the turn has ended, as `Turn.has_ended` has it, without a look at its other steps. None where that
        does not tell: where a repair or a response of several items may have changed the last step."""
        if self.is_queued or self.is_in_hand:
            return False
        if self.runs:
            return None
        last = next(reversed(self.steps.values()), None)
        step = last.base if isinstance(last, StepFold) else None if last is None else last.step
        if step is None or step.origin == "responses" or step.position <= self._corrected:
            return None
        if isinstance(last, StepFold) or last is None:
            return False
        if self.is_open():
            return None if self.repairs else False
        calls = step.message.tool_calls or step.message.function_call
        return step.status != "finished" or not calls

    def add_step(self, step_id: str, step: StepFold | EndedFold) -> None:
        """Adds a step after the others."""
        self.steps[step_id] = step
        self.open_steps += isinstance(step, StepFold)

    def end_step(self, end: StepEnd) -> EndedFold:
        """Ends an open step."""
        step = self.steps[end.step_id]
        assert isinstance(step, StepFold)  # noqa: S101 whoever calls has found it open
        self.steps[end.step_id] = ended = EndedFold(step.ended(end))
        self.open_steps -= 1
        return ended


def frozen(turn: Turn | TurnFold) -> Turn:
    """The turn as it is now."""
    return turn.freeze() if isinstance(turn, TurnFold) else turn


def new_step(event: CompletionStarted, position: int) -> StepFold:
    """An open step without a message yet."""
    step = Step(
        step_id=event.step_id,
        position=position,
        message=StepMessage(),
        status="open",
        model=event.model,
        started_at=event.at,
        supersedes=event.supersedes or None,
        continues=event.continues or None,
    )
    return StepFold(step)
