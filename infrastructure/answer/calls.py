"""What has to be done about the calls of a turn before the model is asked again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    WAIT = auto()
    """Somebody has been asked, or its result comes from elsewhere."""
    UNKNOWN = auto()
    """The model has made its tool up."""
    INTERRUPTED = auto()
    """Its tool had begun in an earlier run, and may have had effects."""


@dataclass(frozen=True, slots=True)
class DueCall:
    """A call without a result, and what it needs. `attempt` is the number of the next run of its tool."""

    step_id: str
    call: StepToolCall
    task: Task
    tool: Tool | None
    attempt: int


def due_calls(turns: Iterable[Turn], toolbox: Toolbox) -> Iterator[DueCall]:
    """The calls of these turns without a result, oldest first. Of a step that broke off there are none: it is made
    again. `run` is the run that asks."""
    for turn in turns:
        allowed = {name for step in turn.steps for name in _allowed_for_turn(step)}
        for step in turn.steps:
            if step.status == "finished":
                yield from (_due(step, call, toolbox, allowed) for call in step.unanswered_calls())


def _allowed_for_turn(step: Step) -> Iterator[str]:
    indexes = {approval.index for approval in step.approvals if approval.approved and approval.for_turn}
    return (call.name for call in step.message.tool_calls if call.index in indexes) if indexes else iter(())


def _due(step: Step, call: StepToolCall, toolbox: Toolbox, allowed: set[str]) -> DueCall:
    tool = toolbox.get(call.name)
    runs = [run for run in step.tool_runs if run.index == call.index]
    approval = next((one for one in step.approvals if one.index == call.index), None)
    is_allowed = approval is not None and approval.approved is True
    if tool is None:
        task = Task.UNKNOWN
    elif runs and not tool.idempotent:
        task = Task.INTERRUPTED
    elif (approval is not None and not is_allowed) or tool.function is None:
        task = Task.WAIT
    elif not is_allowed and call.name not in allowed and approval_needed(tool, call.arguments):
        task = Task.ASK
    else:
        task = Task.RUN
    return DueCall(step.step_id, call, task, tool, 1 + max((run.attempt for run in runs), default=0))
