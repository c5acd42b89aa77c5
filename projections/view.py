"""The session view, and the lines of a list of sessions. Frozen pydantic models that round-trip through JSON.

What a view consists of is defined in `turn`, and can be imported from here, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from turnlog.domain.turns import TurnStatus
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.messages import transcript
from turnlog.projections.turn import (
    Compaction,
    Fault,
    Message,
    OpenToolCall,
    Repair,
    Step,
    StepToolCall,
    ToolResult,
    Turn,
    Usage,
    WaitingToolCall,
)

__all__ = [
    "Fault",
    "Message",
    "OpenToolCall",
    "Repair",
    "SessionPage",
    "SessionSummary",
    "SessionView",
    "Step",
    "StepToolCall",
    "ToolResult",
    "Turn",
    "UnfinishedTurn",
    "WaitingToolCall",
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
    def pending_tool_calls(self) -> tuple[OpenToolCall, ...]:
        """The calls of finished steps that have no result yet, oldest first: what a handler has to run now.

        A call with a pending result is not among them, because it is already running; nor is one that somebody has to
        allow first. These are in `waiting_tool_calls`.
        """
        return tuple(
            call
            for turn in self.turns
            for step in turn.steps
            if step.status == "finished"
            for call in step.open_calls(turn.index)
            if call.waits_for is None
        )

    @property
    def waiting_tool_calls(self) -> tuple[OpenToolCall, ...]:
        """The calls that wait for somebody outside, oldest first: for the final result of what was started, or for a
        decision (`waits_for`)."""
        return tuple(
            call
            for turn in self.turns
            for step in turn.steps
            for call in step.open_calls(turn.index)
            if call.waits_for is not None
        )

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What does not fit, oldest first."""
        return tuple(fault for turn in self.turns for fault in turn.faults)


class SessionSummary(Frozen):
    """One line of a list of sessions, without messages. While an answer is streaming, `updated_at` may lag by a
    second. `turn_status` is how far the latest turn is; None where that is not known, as in an empty session, or where
    an older version of turnlog wrote last."""

    session_id: UUID
    user_id: str | None
    title: Text | None
    started_at: datetime
    updated_at: datetime
    version: int
    turn_status: TurnStatus | None = None


class SessionPage(Frozen):
    """One page of a list of sessions. `next_cursor` is for the next page, None on the last one. `total` is how many
    there are in all, of the same snapshot of the database; None where they were not counted: see `list_sessions`."""

    items: tuple[SessionSummary, ...]
    total: int | None = None
    next_cursor: str | None = None


class UnfinishedTurn(Frozen):
    """A turn with an owner that somebody has to go on with, now or later. `turn_id` is the id of the message that it
    answers, `status` as in `Turn.status`, and `since` when its owner began, or the one before.

    `writer`, `host`, `pid` and `expires_at`, the end of its lease, are those of whoever has the turn in hand; they are
    None where nobody has, or where it is not on record. `is_alive`: whether that lease still runs.
    """

    session_id: UUID
    user_id: str | None
    turn_id: str
    status: TurnStatus
    since: datetime
    writer: str | None = None
    host: str | None = None
    pid: int | None = None
    expires_at: datetime | None = None
    is_alive: bool = False
