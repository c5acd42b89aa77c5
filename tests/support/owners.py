"""Owners of turns, each of whose moves is one append."""

from __future__ import annotations

from turnlog import Session, SessionLog
from turnlog.domain.commands import (
    AddToolResult,
    BeginCompletion,
    BeginTurn,
    Command,
    EndCompletion,
    EndTurn,
    RequestApproval,
    StartTool,
)
from turnlog.domain.events import CompletionFinished, ResultStatus, ToolCall, TurnEnd
from turnlog.domain.step_appends import AppendWholeToolCall
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.ids import new_id


class Owner:
    """Has the turn of a session in hand, as a writer of this log. Nobody renews the log's lease for it."""

    def __init__(self, log: SessionLog, session: Session, writer: str) -> None:
        self._aggregate = log._parts.aggregate(session.id)
        self._writer = writer
        self._run = new_id()
        self.step_id = ""

    @classmethod
    async def of(cls, log: SessionLog, session: Session, turn_id: str | None = None) -> Owner:
        """Takes the turn in hand: this one, or the one whose turn it is."""
        owner = cls(log, session, await log._parts.lease.hold())
        await owner.does(BeginTurn(now(), turn_id, owner._run, owner._writer))
        return owner

    async def does(self, *commands: Command) -> None:
        await self._aggregate.execute(*commands)

    async def asks(self, *call_ids: str) -> None:
        """A request, and a response with these calls."""
        await self.begins()
        calls = (ToolCall(id=call_id, name="search", arguments="{}") for call_id in call_ids)
        made = [AppendWholeToolCall(now(), self.step_id, call) for call in calls]
        end = CompletionFinished(at=now(), step_id=self.step_id, finish_reason="tool_calls" if call_ids else "stop")
        await self.does(*made, EndCompletion(end))

    async def begins(self) -> None:
        """A request, whose response is still coming."""
        self.step_id = new_id()
        await self.does(BeginCompletion(now(), self.step_id, writer=self._writer, run=self._run))

    async def starts(self, index: int) -> None:
        """Starts the tool of a call of the last response."""
        await self.does(StartTool(now(), self._run, self.step_id, index))

    async def gives(self, call_id: str, content: str, status: ResultStatus = "final") -> None:
        """Gives the result of a call."""
        await self.does(AddToolResult(now(), call_id, status, content, step_id=self.step_id, run=self._run))

    async def needs_approval(self, index: int) -> None:
        """Asks whether a call of the last response may be run."""
        await self.does(RequestApproval(now(), self._run, self.step_id, index))

    async def ends(self, status: TurnEnd = "finished") -> None:
        """Ends the run."""
        await self.does(EndTurn(now(), self._run, status))
