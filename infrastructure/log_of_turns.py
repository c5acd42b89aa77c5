"""What a log says about the turns of all its sessions, and going on with those of the dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from turnlog.domain.errors import SessionNotFoundError, StoreError
from turnlog.domain.inputs import (
    check_kind,
    checked_range,
    checked_seconds,
    checked_session_id,
    checked_turn_statuses,
)
from turnlog.domain.turns import RESUMABLE, UNFINISHED, TurnStatus
from turnlog.infrastructure.answer.outcome import AnswerOutcome
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.principal import SYSTEM, Principal, checked_principal
from turnlog.infrastructure.resuming import ResumeAnswer, Resuming
from turnlog.infrastructure.session import Session
from turnlog.projections.view import UnfinishedTurn, WaitingToolCall

logger = logging.getLogger("turnlog")

MAX_PAGE = 100
_FIRST_ID = UUID(int=0)

Statuses = TurnStatus | Iterable[TurnStatus] | None


class LogOfTurns:
    """The part of a SessionLog that finds turns: see there."""

    def __init__(self, parts: LogParts) -> None:
        self._parts = parts

    def session(self, session_id: UUID | str, principal: Principal) -> Session:
        """The session, as this principal may use it.

        Looks nothing up: each call on the session checks. `await log.session(...)` checks at once. Raises
        SessionNotFoundError for an id that is no UUID, and InvalidInputError for a missing principal.
        """
        principal = checked_principal(principal)
        return Session(self._parts, self._parts.aggregate(found_id(session_id)), principal)

    async def unfinished_turns(
        self,
        principal: Principal,
        *,
        limit: int = MAX_PAGE,
        after: UUID | str | None = None,
        status: Statuses = None,
    ) -> tuple[UnfinishedTurn, ...]:
        """The turns with an owner, in the principal's sessions (SYSTEM: all), that somebody has to go on with, now or
        later: queued, answering, running_tools, waiting or abandoned; or only those with this status, or one of these.

        There is one a session, in the order of their ids; at most `limit`, from 1 to 100. The next ones come after the
        session `after`. Whoever has a turn in hand may be gone: see `is_alive`. Raises InvalidInputError and
        StoreError.
        """
        checked_range(limit, "limit", 1, MAX_PAGE)
        statuses = checked_turn_statuses(status, UNFINISHED, UNFINISHED) or ()
        first = _FIRST_ID if after is None else checked_session_id(after, "after")
        return await self._parts.store.lists.unfinished(self._whose(principal), statuses, first, limit)

    async def waiting_tool_calls(
        self, principal: Principal, *, limit: int = MAX_PAGE, after: UUID | str | None = None
    ) -> tuple[WaitingToolCall, ...]:
        """The calls in the principal's sessions (SYSTEM: all) that wait for somebody outside: for the final result of
        what was started, or for a decision. Each has its session and its step.

        They are those of at most `limit` sessions, from 1 to 100, in the order of the sessions' ids. The next ones come
        after the session `after`. Raises InvalidInputError and StoreError.
        """
        checked_range(limit, "limit", 1, MAX_PAGE)
        last = _FIRST_ID if after is None else checked_session_id(after, "after")
        whose, found = self._whose(principal), list[WaitingToolCall]()
        # Calls that a repair has answered are counted in the list, but are not in the view.
        while not found and (ids := await self._parts.store.lists.with_waiting_calls(whose, last, limit)):
            last = ids[-1]
            for session_id in ids:
                with suppress(SessionNotFoundError):  # it was deleted meanwhile
                    view = await self.session(session_id, principal).view()
                    found += (call.of_session(session_id) for call in view.waiting_tool_calls)
        return tuple(found)

    async def resume(
        self, answer: ResumeAnswer, *, every: float | None = None, parallel: int = 8
    ) -> tuple[AnswerOutcome, ...]:
        """Goes on with the turns of the dead, in the sessions of all users: those whose owners are gone, those that
        were abandoned, and messages that were queued and that nobody answers; each from its last durable point, at most
        `parallel` at the same time.

        `answer` is given each session, as SYSTEM, and returns its answer, such as `session.answer(client, model=...)`
        without a message. A tool that had begun runs again only if it is idempotent. Any number of processes may do
        this at once. Returns the outcomes. With `every` it looks again after so many seconds, until it is cancelled,
        also where Postgres was away meanwhile. A turn that cannot be gone on with is logged. Raises InvalidInputError,
        StoreError and LogClosedError.
        """
        check_kind(answer, Callable, "answer")
        checked_range(parallel, "parallel", 1, 1_000)
        every = None if every is None else checked_seconds(every, "every")

        async def page(after: UUID | None) -> tuple[UnfinishedTurn, ...]:
            return await self.unfinished_turns(SYSTEM, after=after, status=RESUMABLE)

        while True:
            try:
                outcomes = await Resuming(page, lambda found: self.session(found, SYSTEM), answer, parallel).run()
            except StoreError as error:
                if every is None:
                    raise
                logger.warning("unfinished turns were not looked for: %s", error)
            if every is None:
                return outcomes
            await asyncio.sleep(every)

    def _whose(self, principal: Principal) -> str | None:
        """The user whose sessions are looked at; None for those of all. Raises InvalidInputError, and what an open log
        checks."""
        principal = checked_principal(principal)
        self._parts.check_open()
        return None if principal is SYSTEM else principal


def found_id(session_id: Any) -> UUID:
    """The id as a UUID. Raises SessionNotFoundError for what is none."""
    try:
        return checked_session_id(session_id)
    except ValueError:
        raise SessionNotFoundError(session_id) from None
