"""The session view, and the lines of a list of sessions. Frozen pydantic models that round-trip through JSON.

What a view consists of is defined in `turn`, and can be imported from here, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.messages import transcript
from turnlog.projections.turn import Compaction, Fault, Message, Repair, Step, StepToolCall, ToolResult, Turn, Usage

__all__ = [
    "Fault",
    "Message",
    "Repair",
    "SessionPage",
    "SessionSummary",
    "SessionView",
    "Step",
    "StepToolCall",
    "ToolResult",
    "Turn",
]


class SessionView(Frozen):
    """The whole session at `version`, the position of its last event."""

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
        return transcript(self.turns)

    @property
    def pending_tool_calls(self) -> tuple[StepToolCall, ...]:
        """The calls of finished steps that have no result yet, oldest first: what a handler has to run now.

        A call with a pending result is not among them, because it is already running.
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
    """One line of a list of sessions, without messages. While an answer is streaming, `updated_at` may lag by a
    second."""

    session_id: UUID
    user_id: str | None
    title: Text | None
    started_at: datetime
    updated_at: datetime
    version: int


class SessionPage(Frozen):
    """One page of a list of sessions, and how many there are in total, both from one snapshot of the database."""

    items: tuple[SessionSummary, ...]
    total: int
