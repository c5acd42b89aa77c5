"""Events of a turn that has an owner: who answers, which tools run, and what waits for somebody's decision.

The owner is one writer in one *run*: an id of its own for each time that somebody begins the turn or goes on with it.
Whoever has an older run can append nothing more.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from turnlog.domain.events.base import Event, is_unset
from turnlog.domain.values import Text

TurnEnd = Literal["finished", "waiting", "stopped", "failed", "abandoned"]
"""How a run ends. `waiting`: nobody has to do anything until a pending result or a decision about a call comes."""


class TurnStarted(Event):
    """Somebody begins to answer, or goes on. `turn_id` is the id of the message that is answered, and stays the same
    for all runs of a turn. A run that was still open has been abandoned."""

    topic = "turn-started.v1"

    turn_id: str
    run: str
    writer: str
    lease_seconds: float | None = None


class TurnEnded(Event):
    """The run is over. A turn that nobody had begun is stopped without a run."""

    topic = "turn-ended.v1"

    turn_id: str
    run: str
    status: TurnEnd
    reason: Text = ""


class ToolStarted(Event):
    """The tool of a call begins to run, for the `attempt`-th time. Until there is a result it may have had effects."""

    topic = "tool-started.v1"

    step_id: str
    index: int
    call_id: Text
    run: str
    attempt: int


class ApprovalRequested(Event):
    """The tool of a call runs only when somebody has allowed it."""

    topic = "approval-requested.v1"

    step_id: str
    index: int
    call_id: Text
    run: str


class ApprovalDecided(Event):
    """Somebody (`by`) has allowed a call, or refused it. `for_turn`: calls of this tool need no other decision in this
    turn. A refused call has its result in the same append."""

    topic = "approval-decided.v1"

    step_id: str
    index: int
    call_id: Text
    approved: bool
    by: Text
    reason: Text = Field(default="", exclude_if=is_unset)
    for_turn: bool = Field(default=False, exclude_if=is_unset)
