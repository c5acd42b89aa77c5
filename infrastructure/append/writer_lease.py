"""The lease of this log as a writer: while it runs, the steps that the log has open are alive, for every process.

One lease for all steps of a log, renewed by one small UPDATE every third of its length, and only while there are such
steps. No delta waits for it: that nobody else writes a step is held by the positions of the log. Whoever takes a step
over takes the next position, so all that its old writer still has under way is refused there, however long it slept.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from turnlog.domain.commands import EndCompletion
from turnlog.domain.errors import AppendConflictError, StoreUnavailableError, TurnlogError
from turnlog.domain.events import CompletionAbandoned, CompletionInterrupted, StepEnd
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.ids import new_id
from turnlog.infrastructure.tasks import cancel_and_wait

if TYPE_CHECKING:
    from turnlog.infrastructure.store.leases import Lease, Leases

logger = logging.getLogger("turnlog")

LEASE_LOST = "the writer's lease ran out"
LOG_CLOSED = "the log was closed"


class _LiveStep(NamedTuple):
    aggregate: Aggregate
    writer_id: str


class WriterLease:
    """`writer_id` is another one after the lease was lost: what ran out never comes back."""

    def __init__(self, leases: Leases, seconds: float) -> None:
        self._leases = leases
        self.seconds = seconds
        self.writer_id = new_id()
        self.host, self.pid = socket.gethostname(), os.getpid()
        self._live: dict[str, _LiveStep] = {}
        self._unended: dict[str, tuple[Aggregate, StepEnd]] = {}
        self._is_held = self._is_closed = False
        self._asked_at = 0.0
        self._asking = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def live(self) -> Collection[str]:
        """The steps that are written through this log, at any time that it is looked at."""
        return self._live.keys()

    # Steps

    async def hold(self) -> str:
        """The id under which a step can begin now. Asks the database only where that is not known. Raises
        StoreError."""
        if not self._is_fresh():
            async with self._asking:
                if not self._is_fresh():
                    await self._renew_or_begin()
        return self.writer_id

    def began(self, step_id: str, aggregate: Aggregate) -> None:
        """Takes a step among the live ones. Call it in one breath with `hold`."""
        self._live[step_id] = _LiveStep(aggregate, self.writer_id)
        self._keep()

    def left(self, step_id: str) -> None:
        """The step is written no more."""
        self._live.pop(step_id, None)

    def end(self, aggregate: Aggregate, end: StepEnd) -> asyncio.Future[int]:
        """Ends a step, at once; the future is done when that is stored.

        Where Postgres is away the end is tried again for as long as the lease is held: the step would else stay open
        for as long as this process lives.
        """
        self.left(end.step_id)
        ended = aggregate.submit(EndCompletion(end))
        ended.add_done_callback(partial(self._ended, aggregate, end))
        # Shielded, so that a caller who is cancelled does not hide what became of it.
        shielded = asyncio.shield(ended)
        # Nobody may be there to look: a loop that closes, a caller that was cancelled.
        shielded.add_done_callback(lambda done: done.cancelled() or done.exception())
        return shielded

    def _ended(self, aggregate: Aggregate, end: StepEnd, done: asyncio.Future[int]) -> None:
        if done.cancelled() or not isinstance(done.exception(), StoreUnavailableError | AppendConflictError):
            self._unended.pop(end.step_id, None)
        else:
            self._unended[end.step_id] = (aggregate, end)
            self._keep()

    async def others(self, writer_ids: Iterable[str]) -> dict[str, Lease]:
        """The leases of these writers that run; who is not among them is gone for good. Raises StoreError."""
        leases = await self._leases.of(set(writer_ids))
        return {writer_id: lease for writer_id, lease in leases.items() if lease.seconds_left > 0}

    async def close(self) -> None:
        """Ends what is still open as interrupted, and the lease."""
        ends = [
            self.end(live.aggregate, CompletionInterrupted(at=now(), step_id=step_id, reason=LOG_CLOSED))
            for step_id, live in list(self._live.items())
        ]
        await asyncio.gather(*ends, return_exceptions=True)
        self._is_closed = True
        await cancel_and_wait(self._keeping)
        if self._is_held:
            with suppress(TurnlogError):
                await self._leases.drop(self.writer_id)

    # The lease

    def _is_fresh(self) -> bool:
        return self._is_held and time.monotonic() < self._asked_at + self.seconds * 2 / 3

    async def _renew_or_begin(self) -> None:
        if self._is_held:
            await self._renew()
        if not self._is_held:
            self._asked_at = time.monotonic()
            await self._leases.begin(self.writer_id, self.seconds, self.host, self.pid)
            self._is_held = True

    async def _renew(self) -> None:
        asked_at = time.monotonic()
        if await self._leases.renew(self.writer_id, self.seconds):
            self._asked_at = asked_at
        else:
            self._lost()

    def _lost(self) -> None:
        """Somebody may have taken over. What this writer had open is given up, and it comes back under another id."""
        lost, self.writer_id, self._is_held = self.writer_id, new_id(), False
        given_up = {step_id: live for step_id, live in self._live.items() if live.writer_id == lost}
        self._unended.clear()
        if given_up:
            logger.warning("the lease ran out before it was renewed: %d steps are given up", len(given_up))
        for step_id, live in given_up.items():
            # Its recording finds it closed, and gets StepClosedError.
            self.end(live.aggregate, CompletionAbandoned(at=now(), step_id=step_id, reason=LEASE_LOST))

    def _keep(self) -> None:
        if not self._is_closed and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.seconds / 3)
            if not (self._live or self._unended):
                return
            with suppress(TurnlogError):  # asked again the next time; whether it ran out is for the database to say
                async with self._asking:
                    if self._is_held:
                        await self._renew()
            for aggregate, end in list(self._unended.values()):
                self.end(aggregate, end)
