"""What has to be done about the calls of a turn before the model is asked again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from turnlog.infrastructure.answer.tool_run import approval_needed
from turnlog.infrastructure.answer.tools import Tool, Toolbox
from turnlog.projections.turn import Step, StepToolCall, Turn


class Task(Enum):
    """What a call needs."""

    RUN = auto()
    """Its tool runs."""
    ASK = auto()
    """Somebody has to be asked whether its tool may run."""
    LEAVE = auto()
    """Its result comes from elsewhere."""
    REFUSE = auto()
    """The model has made its tool up."""
    INTERRUPT = auto()
    """Its tool had begun in an earlier run, and may have had effects."""


@dataclass(frozen=True, slots=True)
class DueCall:
    """A call, and what it needs. `attempt` is the number of the next run of its tool."""

    step_id: str
    call: StepToolCall
    task: Task
    tool: Tool | None
    attempt: int


def allowed_in(turn: Turn) -> set[str]:
    """The names of the tools that need no other decision in this turn."""
    return {name for step in turn.steps for name in _allowed_for_turn(step)}


def due_calls(turns: Iterable[Turn], toolbox: Toolbox, known: Mapping[int, set[str]]) -> Iterator[DueCall]:
    """The calls of these turns about which something has to be done, oldest first. Of a step that broke off there are
    none: it is made again. `known` has tools that need no other decision, by the index of the turn: some of its steps
    may not be there."""
    for turn in turns:
        allowed = allowed_in(turn) | known.get(turn.index, set())
        for step in turn.steps:
            if step.status == "finished":
                undecided = {approval.index for approval in step.approvals if approval.approved is None}
                calls = (call for call in step.unanswered_calls() if call.index not in undecided)
                yield from (_due(step, call, toolbox, allowed) for call in calls)


def waits(step: Step, toolbox: Toolbox) -> bool:
    """Whether the model cannot be asked after this step, because somebody has to decide about a call of it, or a result
    comes from elsewhere. For the final result of what a tool of ours has started nobody waits."""
    waiting = step.waiting()
    ours = {call.index for call in step.message.tool_calls if not _is_elsewhere(toolbox.get(call.name))}
    return any(what == "decision" or index not in ours for index, what in waiting.items())


def _is_elsewhere(tool: Tool | None) -> bool:
    return tool is not None and tool.function is None


def _allowed_for_turn(step: Step) -> Iterator[str]:
    indexes = {approval.index for approval in step.approvals if approval.approved and approval.for_turn}
    return (call.name for call in step.message.tool_calls if call.index in indexes) if indexes else iter(())


def _due(step: Step, call: StepToolCall, toolbox: Toolbox, allowed: set[str]) -> DueCall:
    tool = toolbox.get(call.name)
    runs = [run for run in step.tool_runs if run.index == call.index]
    is_allowed = call.name in allowed or any(one.index == call.index and one.approved for one in step.approvals)
    if tool is None:
        task = Task.REFUSE
    elif runs and not tool.idempotent:
        task = Task.INTERRUPT
    elif _is_elsewhere(tool):
        task = Task.LEAVE
    elif not is_allowed and approval_needed(tool, call.arguments):
        task = Task.ASK
    else:
        task = Task.RUN
    return DueCall(step.step_id, call, task, tool, 1 + max((run.attempt for run in runs), default=0))
