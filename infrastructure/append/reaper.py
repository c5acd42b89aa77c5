"""The reaper: ends the steps and the turns whose writers are gone, so that no turn stays open for ever.

Any number of reapers may run at once, in any process: a lease that has run out never comes back, and what somebody else
has ended meanwhile is left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.commands import AbandonSteps
from turnlog.domain.errors import SessionNotFoundError, StoreUnavailableError, TurnlogError
from turnlog.domain.state import Active, LatestTurn, OpenStep, SessionState
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.append.writer_lease import LEASE_LOST
from turnlog.infrastructure.clock import now
from turnlog.projections.report import ReapedStep

if TYPE_CHECKING:
    from turnlog.infrastructure.store.leases import Lapsed, Leases

logger = logging.getLogger("turnlog")

REAP_PAGE_SESSIONS = 100
"""Sessions that are found in one statement."""


class Reaper:
    """The reaper of an open log."""

    def __init__(self, leases: Leases, aggregate: Callable[[UUID], Aggregate]) -> None:
        self._leases = leases
        self._aggregate = aggregate

    async def reap(self, dry_run: bool = False) -> tuple[ReapedStep, ...]:
        """Ends the open steps, and the turns in hand, whose writers are gone, and returns them. A dry run ends nothing.
        Raises StoreError."""
        reaped: list[ReapedStep] = []
        async for lapsed in self._lapsed():
            try:
                reaped += await self._reap(lapsed, dry_run)
            except SessionNotFoundError:  # it was deleted meanwhile
                continue
            except StoreUnavailableError:
                raise
            except TurnlogError as error:  # such as an event of a newer version: it must not hold up the others
                logger.warning("what is open in session %s could not be ended: %s", lapsed.session_id, error)
        if not dry_run:
            await self._leases.forget_old()
        return tuple(reaped)

    async def keep_reaping(self, seconds: float) -> None:
        """Reaps again and again, with pauses of `seconds`, until it is cancelled."""
        while True:
            try:
                await self.reap()
            except TurnlogError as error:
                logger.debug("not reaped: %s", error)
            except Exception:
                logger.exception("not reaped")
            await asyncio.sleep(seconds)

    async def _lapsed(self) -> AsyncIterator[Lapsed]:
        after = UUID(int=0)
        while page := await self._leases.lapsed(after, REAP_PAGE_SESSIONS):
            for lapsed in page:
                yield lapsed
            after = page[-1].session_id

    async def _reap(self, lapsed: Lapsed, dry_run: bool) -> list[ReapedStep]:
        # This read locks the lease, so it waits for a renewal that is under way.
        if any(lease.seconds_left > 0 for lease in (await self._leases.of([lapsed.writer_id])).values()):
            return []
        aggregate = self._aggregate(lapsed.session_id)
        await aggregate.refresh()
        found = _left_open(aggregate.state, lapsed)
        if dry_run:
            return found
        ended = await aggregate.execute(AbandonSteps(now(), frozenset({lapsed.writer_id}), LEASE_LOST))
        if not ended:
            await self._leases.clear(lapsed)
        return found if ended else []


def _left_open(state: SessionState, lapsed: Lapsed) -> list[ReapedStep]:
    """The steps that the writer has left open, with their turn; or else the turn."""
    if not isinstance(state, Active):
        return []
    turn = state.in_hand
    turn = turn if turn is not None and turn.writer == lapsed.writer_id else None
    left: list[OpenStep | LatestTurn] = [s for s in state.open_steps.values() if s.writer == lapsed.writer_id]
    return [
        ReapedStep(
            session_id=lapsed.session_id,
            step_id=open_one.step_id if isinstance(open_one, OpenStep) else None,
            turn_id=None if turn is None else turn.turn_id,
            since=open_one.since,
            writer=lapsed.writer_id,
            host=lapsed.host,
            pid=lapsed.pid,
            expired_at=lapsed.expires_at,
        )
        for open_one in left or ([] if turn is None else [turn])
    ]
