"""Taking over: finds out whether the step or the turn in the way of a new one is alive, and waits for the lease of its
writer."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

from turnlog.domain.errors import TurnInProgressError
from turnlog.domain.state import Active
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.append.writer_lease import WriterLease

if TYPE_CHECKING:
    from turnlog.infrastructure.store.leases import Lease

LOOK_AGAIN_SECONDS = 1.0
"""Seconds between two looks at the lease of the other writer."""


class Takeover:
    """One attempt to begin a step or a turn where another one is open. `is_wanted`: whether to wait for the other
    writer's lease.

    `gone` are the writers whose leases have run out. `over` is the step that was in the way at first: where somebody
    else has taken it over and answered since, this attempt has nothing to answer any more.
    """

    def __init__(self, aggregate: Aggregate, lease: WriterLease, is_wanted: bool) -> None:
        self._aggregate = aggregate
        self._lease = lease
        self._is_wanted = is_wanted
        self._until: datetime | None = None
        self._found: str | None = None
        self.over: str | None = None
        self.gone: frozenset[str] = frozenset()

    async def judge(self, refusal: TurnInProgressError) -> None:
        """Returns when another try may succeed. Else raises the refusal, with what is known of the other writer."""
        if refusal.step_id in self._lease.live:
            raise _of(refusal, self._lease.host, self._lease.pid)
        if self._found is None:
            self._found = refusal.step_id
            self.over = refusal.step_id if refusal.turn_id is None else None
        was_in_the_way = self._is_in_the_way(refusal)
        writers = set(self._held().values()) | {refusal.writer}
        alive = await self._lease.others(writers)
        self.gone |= writers - set(alive)
        other = alive.get(refusal.writer)
        if other is not None and await self._is_worth_waiting(refusal, other):
            return
        if other is not None:
            raise _of(refusal, other.host, other.pid, other.expires_at)
        if not was_in_the_way:
            raise refusal  # it has ended, or somebody else has taken it over

    def _is_in_the_way(self, refusal: TurnInProgressError) -> bool:
        return refusal.step_id == self._found and refusal.step_id in self._held()

    async def _is_worth_waiting(self, refusal: TurnInProgressError, other: Lease) -> bool:
        """Waits a moment, if that is wanted and the lease is still the one of the first look. Else returns False."""
        self._until = self._until or other.expires_at
        if not self._is_wanted or not self._is_in_the_way(refusal) or other.expires_at > self._until:
            return False
        await asyncio.sleep(min(other.seconds_left, LOOK_AGAIN_SECONDS))
        return True

    def _held(self) -> dict[str, str]:
        """The writers of what is open, by its id."""
        state = self._aggregate.state
        if not isinstance(state, Active):
            return {}
        held = {step_id: step.writer for step_id, step in state.open_steps.items()}
        return held if state.in_hand is None else {**held, state.in_hand.run: state.in_hand.writer}


def _of(refusal: TurnInProgressError, host: str, pid: int, until: datetime | None = None) -> TurnInProgressError:
    """The refusal with what is known of the other writer."""
    return TurnInProgressError(
        refusal.step_id, refusal.since, refusal.writer, host, pid, until, turn_id=refusal.turn_id
    )
