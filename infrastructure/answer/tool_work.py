"""The tools of a turn at work: every call that is due gets its result, or is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from turnlog.domain.commands import AddToolResult, RequestApproval
from turnlog.domain.errors import InvalidInputError, ToolResultConflictError
from turnlog.domain.inputs import checked_content
from turnlog.infrastructure.answer.asking import Asking
from turnlog.infrastructure.answer.calls import DueCall, Task, allowed_in, due_calls, waits
from turnlog.infrastructure.answer.session_io import SessionIO
from turnlog.infrastructure.answer.tool_context import ToolContext
from turnlog.infrastructure.answer.tool_result import ToolOutcome, refused, too_large_outcome
from turnlog.infrastructure.answer.tool_run import run_tool
from turnlog.infrastructure.append.turn_owner import TurnOwner
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.observer import tool_key
from turnlog.infrastructure.tasks import started
from turnlog.projections.placeholders import TOOL_INTERRUPTED
from turnlog.projections.turn import Step, Turn

ELSEWHERE = "The result is not there yet."
"""The pending result of a call that somebody else answers."""


class ToolWork:
    """Runs tools for the owner of a turn, several at the same time."""

    def __init__(self, io: SessionIO, asking: Asking, owner: TurnOwner) -> None:
        self._io = io
        self._toolbox = asking.toolbox
        self._owner = owner
        self._slots = asyncio.Semaphore(asking.max_parallel)
        self._allowed: dict[int, set[str]] = {}  # by turn: the tools that need no other decision

    def has_seen(self, turn: Turn) -> bool:
        """Whether what was allowed in earlier steps of the turn is known, or does not matter."""
        return turn.index in self._allowed or not self._toolbox.asks

    def see(self, turn: Turn) -> None:
        """Notes what is allowed in the turn: its steps may not all be there the next time."""
        self._allowed.setdefault(turn.index, set()).update(allowed_in(turn))

    async def settle(self, turns: Iterable[Turn]) -> bool:
        """Does what is due about the calls of these turns. False if nothing was.

        Raises TurnClosedError when somebody else owns the turn by now, and StoreError.
        """
        work = [started(self._settle(due)) for due in due_calls(turns, self._toolbox, self._allowed)]
        try:
            await asyncio.gather(*work)
        except BaseException:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            raise
        return bool(work)

    def waits(self, step: Step) -> bool:
        """Whether somebody has to be waited for before the model can be asked after this step."""
        return waits(step, self._toolbox)

    async def _settle(self, due: DueCall) -> None:
        match due.task:
            case Task.RUN:
                await self._run(due)
            case Task.ASK:
                command = RequestApproval(now(), self._owner.run, due.step_id, due.call.index)
                await self._owner.aggregate.execute(command)
            case Task.LEAVE:
                await self._answer(due, ToolOutcome(ELSEWHERE, "pending"))
            case Task.REFUSE:
                await self._answer(due, refused(self._unknown(due.call.name)))
            case Task.INTERRUPT:
                await self._answer(due, refused(TOOL_INTERRUPTED))

    def _unknown(self, name: str) -> str:
        names = ", ".join(self._toolbox.names) or "none"
        return f"There is no tool of the name {name}. The tools are: {names}."

    async def _run(self, due: DueCall) -> None:
        call = due.call
        assert due.tool is not None  # noqa: S101 a call without a tool is not run
        async with self._slots:
            await self._owner.start_tool(due.step_id, call)
            context = ToolContext(
                self._io.session, self._owner.turn_id, due.step_id, call.id, call.index, call.name, due.attempt
            )
            with self._owner.observer.inside(tool_key(due.step_id, call.index)):
                outcome = await run_tool(due.tool, call.arguments, context)
            await self._answer(due, outcome)

    async def _answer(self, due: DueCall, outcome: ToolOutcome) -> None:
        try:
            await self._append(due, outcome)
        except ToolResultConflictError:
            return  # the tool has added a result by itself, and that one stands
        except InvalidInputError as error:
            await self._append(due, too_large_outcome(error))

    async def _append(self, due: DueCall, outcome: ToolOutcome) -> None:
        content: Any = checked_content(outcome.content, self._io.max_bytes)
        result = AddToolResult(
            now(),
            due.call.id,
            outcome.status,
            content,
            step_id=due.step_id,
            index=due.call.index,
            run=self._owner.run,
        )
        await self._owner.aggregate.execute(result)
