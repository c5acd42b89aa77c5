"""The lease of an open log as a writer: while it runs, the steps that the log has open count as alive everywhere.

A log has one lease for all its steps. One small UPDATE renews it every third of its length, and only while the log has
steps open. No delta waits for it: positions, and not leases, see to it that a step has one writer. A takeover takes the
next position, so everything that the old writer still has under way is refused there, however long it slept.
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
    """The lease, and the steps that depend on it. `writer_id` changes when the lease is lost: a lease that has run out
    never comes back. `seconds` is its length."""

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
        """The ids of the steps that are written through this log: a view that changes with them."""
        return self._live.keys()

    # Steps

    async def hold(self) -> str:
        """The id under which a step can begin now. Asks the database only if the lease may have run out. Raises
        StoreError."""
        if not self._is_fresh():
            async with self._asking:
                if not self._is_fresh():
                    await self._renew_or_begin()
        return self.writer_id

    def began(self, step_id: str, aggregate: Aggregate) -> None:
        """Adds a step to the live ones. Call it directly after `hold`, without awaiting in between."""
        self._live[step_id] = _LiveStep(aggregate, self.writer_id)
        self._keep()

    def left(self, step_id: str) -> None:
        """The step is not written any more."""
        self._live.pop(step_id, None)

    def end(self, aggregate: Aggregate, end: StepEnd) -> asyncio.Future[int]:
        """Ends a step at once. The future is done when the end is stored.

        While Postgres is away, the end is tried again for as long as the lease is held. Otherwise the step would stay
        open for as long as this process lives.
        """
        self.left(end.step_id)
        ended = aggregate.submit(EndCompletion(end))
        ended.add_done_callback(partial(self._ended, aggregate, end))
        # Shielded, so that `_ended` sees what became of it even if the caller is cancelled.
        shielded = asyncio.shield(ended)
        # The caller may be gone: this marks an exception as seen.
        shielded.add_done_callback(lambda done: done.cancelled() or done.exception())
        return shielded

    def _ended(self, aggregate: Aggregate, end: StepEnd, done: asyncio.Future[int]) -> None:
        if done.cancelled() or not isinstance(done.exception(), StoreUnavailableError | AppendConflictError):
            self._unended.pop(end.step_id, None)
        else:
            self._unended[end.step_id] = (aggregate, end)
            self._keep()

    async def others(self, writer_ids: Iterable[str]) -> dict[str, Lease]:
        """The leases of these writers that have not run out. A writer without one is gone for good. Raises
        StoreError."""
        leases = await self._leases.of(set(writer_ids))
        return {writer_id: lease for writer_id, lease in leases.items() if lease.seconds_left > 0}

    async def close(self) -> None:
        """Ends the steps that are still open as interrupted, and drops the lease."""
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
        """Gives up the steps that this writer had open, which may have been taken over, and takes another id."""
        lost, self.writer_id, self._is_held = self.writer_id, new_id(), False
        given_up = {step_id: live for step_id, live in self._live.items() if live.writer_id == lost}
        self._unended.clear()
        if given_up:
            logger.warning("the lease ran out before it was renewed, and %d steps are given up", len(given_up))
        for step_id, live in given_up.items():
            # Whoever writes the step gets StepClosedError.
            self.end(live.aggregate, CompletionAbandoned(at=now(), step_id=step_id, reason=LEASE_LOST))

    def _keep(self) -> None:
        if not self._is_closed and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.seconds / 3)
            if not (self._live or self._unended):
                return
            with suppress(TurnlogError):  # the next renewal asks again, and the database says whether it ran out
                async with self._asking:
                    if self._is_held:
                        await self._renew()
            for aggregate, end in list(self._unended.values()):
                self.end(aggregate, end)
