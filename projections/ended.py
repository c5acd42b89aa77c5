"""A step that has ended, while results still come for it, and results that no call was found for yet.

A response may make thousands of calls: each result finds its call at once, and is put in its place without the others
being looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from turnlog.domain.events import ApprovalDecided, ApprovalRequested, ToolStarted
from turnlog.projections.placeholders import NO_RESULT, NOT_ALLOWED_YET, TOOL_INTERRUPTED
from turnlog.projections.turn import Approval, Step, StepToolCall, ToolResult, ToolRun

CallEvent = ToolStarted | ApprovalRequested | ApprovalDecided


class CallNotes:
    """What is noted of the calls of a step: when their tools were started, what was decided about them, and which of
    them somebody is waited for."""

    __slots__ = (
        "_answered",
        "_approvals",
        "_asked",
        "_pending",
        "_started",
        "_tool_runs",
        "_undecided",
    )

    def __init__(self, step: Step) -> None:
        self._tool_runs = list(step.tool_runs)
        self._started = {run.index for run in step.tool_runs if not run.late}
        self._approvals = {approval.index: approval for approval in step.approvals}
        self._asked = {approval.index for approval in step.approvals if not approval.late}
        self._answered = {result.index for result in step.tool_results}
        self._pending = {result.index for result in step.tool_results if result.status == "pending"}
        self._undecided = {index for index, what in step.waiting().items() if what == "decision"}

    @property
    def waits(self) -> bool:
        """Whether a call waits for its result, or for a decision."""
        return bool(self._pending or self._undecided)

    def fields(self) -> dict[str, Any]:
        """The notes as fields of the step."""
        return {"tool_runs": tuple(self._tool_runs), "approvals": tuple(self._approvals.values())}

    def text_without_result(self, index: int) -> str:
        """What prompts have of a call without a result."""
        if index in self._asked:
            return NOT_ALLOWED_YET
        return TOOL_INTERRUPTED if index in self._started else NO_RESULT

    def take(self, event: CallEvent, position: int, *, late: bool) -> None:
        """Notes what the event says. `late`: the model has gone on by now, and prompts stay as they are."""
        index = event.index
        match event:
            case ToolStarted():
                run = ToolRun(
                    index=index, attempt=event.attempt, run=event.run, position=position, at=event.at, late=late
                )
                self._tool_runs.append(run)
                self._started |= set() if late else {index}
            case ApprovalRequested():
                if index not in self._approvals:
                    self._approvals[index] = self._asked_for(event, position, late=late)
                    self._undecided |= {index} - self._answered
            case ApprovalDecided():
                self._decided(event, self._approvals.get(index) or self._asked_for(event, position, late=late))

    def _asked_for(self, event: CallEvent, position: int, *, late: bool) -> Approval:
        self._asked |= set() if late else {event.index}
        return Approval(index=event.index, position=position, at=event.at, late=late)

    def _decided(self, event: ApprovalDecided, asked: Approval) -> None:
        index = event.index
        decided = {"approved": event.approved, "by": event.by, "reason": event.reason}
        decided |= {"for_turn": event.for_turn, "decided_at": event.at}
        self._approvals[index] = asked.model_copy(update=decided)
        self._undecided.discard(index)

    def answered(self, result: ToolResult) -> None:
        """Notes a result."""
        self._answered.add(result.index)
        self._undecided.discard(result.index)
        if result.status == "pending":
            self._pending.add(result.index)
        else:
            self._pending.discard(result.index)


class EndedFold:
    """A step that has ended. Its `results` are by the index of their call: a later one takes an earlier one's place."""

    __slots__ = ("_by_id", "_by_name", "_calls", "_notes", "_step", "_unanswered", "_waiting", "results", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        """The step as it ended. Use `freeze` for its results."""
        self.results = step.results()
        self._notes: CallNotes | None = None  # hardly any step gets more
        self._step: Step | None = step
        self._unanswered = {call.index: call for call in step.message.tool_calls if call.index not in self.results}
        self._waiting = sum(map(_is_waited_for, self._unanswered.values()))
        self._by_id: dict[str, _Queue] | None = None
        self._by_name: dict[str, _Queue] | None = None
        self._calls: dict[int, StepToolCall] | None = None

    def call(self, index: int) -> StepToolCall | None:
        """The call at this index."""
        if self._calls is None:
            self._calls = {call.index: call for call in self.step.message.tool_calls}
        return self._calls.get(index)

    @property
    def waits(self) -> bool:
        """Whether a call that can be sent has no result. Those without a name, or that were cut off, cannot."""
        return self._waiting > 0

    @property
    def notes(self) -> CallNotes:
        """What is noted of its calls."""
        if self._notes is None:
            self._notes = CallNotes(self.step)
        return self._notes

    def freeze(self) -> Step:
        """The step as it is now: the same object as long as no result comes."""
        if self._step is None:
            results = tuple(self.results.values())
            self._step = self.step.model_copy(update={"tool_results": results, **self.notes.fields()})
        return self._step

    def note_call(self, event: CallEvent, position: int, *, late: bool) -> bool:
        """Notes what has become of a call. False if there is no such call."""
        if self.call(event.index) is None:
            return False
        self.notes.take(event, position, late=late)
        self._step = None
        return True

    def add_result(self, result: ToolResult) -> bool:
        """Files a result under its call. False if there is no such call."""
        if result.index not in self.results and result.index not in self._unanswered:
            return False
        call = self._unanswered.pop(result.index, None)
        self._waiting -= call is not None and _is_waited_for(call)
        self.notes.answered(result)
        self.results[result.index] = result
        self._step = None
        return True

    def call_of(self, call_id: str) -> StepToolCall | None:
        """The call with this id: the first one without a result, else the first one."""
        if self._by_id is None:
            self._by_id = _queues(self.step.message.tool_calls, "id")
        queue = self._by_id.get(call_id)
        return None if queue is None else queue.unanswered(self._unanswered) or queue.first

    def unanswered_of(self, name: str) -> StepToolCall | None:
        """The first call of this name without a result."""
        if self._by_name is None:
            self._by_name = _queues(self.step.message.tool_calls, "name")
        queue = self._by_name.get(name)
        return None if queue is None else queue.unanswered(self._unanswered)


def _is_waited_for(call: StepToolCall) -> bool:
    return bool(call.name) and not call.cut_off


class _Queue:
    """Calls that share an id or a name."""

    __slots__ = ("calls", "first")

    def __init__(self, first: StepToolCall) -> None:
        self.first = first
        self.calls = deque[StepToolCall]()

    def unanswered(self, unanswered: Mapping[int, StepToolCall]) -> StepToolCall | None:
        """The first one without a result. A call never loses its result, so one that has it is not looked at again."""
        while self.calls and self.calls[0].index not in unanswered:
            self.calls.popleft()
        return self.calls[0] if self.calls else None


def _queues(calls: Iterable[StepToolCall], field: str) -> dict[str, _Queue]:
    queues: dict[str, _Queue] = {}
    for call in calls:
        queues.setdefault(getattr(call, field), _Queue(call)).calls.append(call)
    return queues


class Orphans:
    """Results without a call, in the order in which they came."""

    def __init__(self, results: Iterable[ToolResult]) -> None:
        self._results: dict[int, ToolResult] = {}
        self._by_id: dict[str, deque[int]] = {}
        self._next = 0
        for result in results:
            self.add(result)

    def __bool__(self) -> bool:
        return bool(self._results)

    def in_order(self) -> tuple[ToolResult, ...]:
        return tuple(self._results.values())

    def add(self, result: ToolResult) -> None:
        self._results[self._next] = result
        self._by_id.setdefault(result.call_id, deque()).append(self._next)
        self._next += 1

    def take(self, call_id: str) -> ToolResult | None:
        """Takes the first one of this call id out."""
        numbers = self._by_id.get(call_id)
        return self._results.pop(numbers.popleft()) if numbers else None
