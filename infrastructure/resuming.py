"""Going on with the turns of the dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

from turnlog.domain.errors import LogClosedError, TurnlogError
from turnlog.infrastructure.answer.outcome import AnswerOutcome
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.tasks import started
from turnlog.projections.view import UnfinishedTurn

logger = logging.getLogger("turnlog")

ResumeAnswer = Callable[[Session], Awaitable[AnswerOutcome] | Awaitable[Awaitable[AnswerOutcome]]]
"""Gives the answer of a session: `lambda session: session.answer(client, model=..., tools=...)`. It may be async."""

Page = Callable[[UUID | None], Awaitable[tuple[UnfinishedTurn, ...]]]


class Resuming:
    """One pass over the unfinished turns that nobody has in hand. `page` reads those after a session."""

    def __init__(self, page: Page, session: Callable[[UUID], Session], answer: ResumeAnswer, parallel: int) -> None:
        self._page = page
        self._session = session
        self._answer = answer
        self._slots = asyncio.Semaphore(parallel)

    async def run(self) -> tuple[AnswerOutcome, ...]:
        """The outcomes of the turns that were gone on with. One that cannot be is logged. Raises StoreError and
        LogClosedError."""
        work = list[asyncio.Task[AnswerOutcome | None]]()
        try:
            async for turn in self._turns():
                await self._slots.acquire()
                task = started(self._resume(turn))
                task.add_done_callback(lambda _: self._slots.release())
                work.append(task)
            outcomes = await asyncio.gather(*work)
        except BaseException:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            raise
        return tuple(outcome for outcome in outcomes if outcome is not None)

    async def _turns(self) -> AsyncIterator[UnfinishedTurn]:
        after: UUID | None = None
        while page := await self._page(after):
            for turn in page:
                if not turn.is_alive:
                    yield turn
            after = page[-1].session_id

    async def _resume(self, turn: UnfinishedTurn) -> AnswerOutcome | None:
        try:
            given: Any = self._answer(self._session(turn.session_id))
            outcome: Any = await given
            answered: AnswerOutcome = await outcome if hasattr(outcome, "__await__") else outcome
        except LogClosedError:
            raise
        except TurnlogError as error:  # such as a session that was deleted meanwhile
            logger.warning("turn %s of session %s was not gone on with: %s", turn.turn_id, turn.session_id, error)
        except Exception:
            logger.exception("turn %s of session %s was not gone on with", turn.turn_id, turn.session_id)
        else:
            return answered
        return None
