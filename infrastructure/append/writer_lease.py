"""The lease of an open log as a writer: while it runs, what the log holds counts as alive everywhere: the steps that it
has open, and the turns that it has in hand.

A log has one lease for all of them. One small UPDATE renews it every third of its length, and only while the log holds
something. No delta waits for it: positions, and not leases, see to it that a step has one writer. A takeover takes the
next position, so everything that the old writer still has under way is refused there, however long it slept.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from turnlog.domain.commands import Command
from turnlog.domain.errors import AppendConflictError, StoreError, StoreUnavailableError, TurnlogError
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.ids import new_token
from turnlog.infrastructure.tasks import cancel_and_wait, spawned

if TYPE_CHECKING:
    from turnlog.infrastructure.store.leases import Lease, Leases

logger = logging.getLogger("turnlog")

LEASE_LOST = "the writer's lease ran out"
LOG_CLOSED = "the log was closed"


Ending = Callable[[str, bool], Command]
"""Makes the command that ends what is held, for a reason, and because the lease was lost or not."""


class _Held(NamedTuple):
    aggregate: Aggregate
    writer_id: str
    ending: Ending


class WriterLease:
    """The lease, and what depends on it, by its id: that of a step, or of a run of a turn. `writer_id` changes when the
    lease is lost: a lease that has run out never comes back. `seconds` is its length."""

    def __init__(self, leases: Leases, seconds: float) -> None:
        self._leases = leases
        self.seconds = seconds
        self.writer_id = new_token()
        self.host, self.pid = socket.gethostname(), os.getpid()
        self._live: dict[str, _Held | None] = {}  # None: its end is on its way to the store
        self._unended: dict[str, tuple[Aggregate, Command]] = {}
        self._later: dict[str, Command] = {}
        self._is_held = self._is_closed = False
        self._asked_at = 0.0
        self._asking = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def live(self) -> Collection[str]:
        """The ids of the steps and runs that this log holds: a view that changes with them. What is being ended counts
        until its end is stored: a command that waits in front of the end finds it in the log as it was."""
        return self._live.keys()

    # Steps and runs

    async def hold(self) -> str:
        """The id under which a step or a run can begin now. Asks the database only if the lease may have run out.
        Raises StoreError."""
        if not self._is_fresh():
            async with self._asking:
                if not self._is_fresh():
                    await self._renew_or_begin()
        return self.writer_id

    def began(self, held_id: str, aggregate: Aggregate, ending: Ending) -> None:
        """Adds a step or a run to the live ones. Call it directly after `hold`, without awaiting in between."""
        self._live[held_id] = _Held(aggregate, self.writer_id, ending)
        self._keep()

    def left(self, held_id: str) -> None:
        """The step is not written any more, or the turn is not in hand."""
        self._live.pop(held_id, None)

    def end(self, held_id: str, aggregate: Aggregate, command: Command) -> asyncio.Future[int]:
        """Ends a step or a run at once. The future is done when the end is stored.

        While Postgres is away, the end is tried again for as long as the lease is held. Otherwise it would stay open
        for as long as this process lives.
        """
        self._live[held_id] = None
        ended = aggregate.submit(command)
        ended.add_done_callback(partial(self._ended, held_id, aggregate, command))
        # Shielded, so that `_ended` sees what became of it even if the caller is cancelled.
        shielded = asyncio.shield(ended)
        # The caller may be gone: this marks an exception as seen.
        shielded.add_done_callback(lambda done: done.cancelled() or done.exception())
        return shielded

    def end_later(self, held_id: str, command: Command) -> None:
        """What ends it if the end that is on its way is not stored: something before it was not."""
        if held_id in self._live:
            self._later[held_id] = command

    def _ended(self, held_id: str, aggregate: Aggregate, command: Command, done: asyncio.Future[int]) -> None:
        self.left(held_id)
        later = self._later.pop(held_id, None)
        error = None if done.cancelled() else done.exception()
        is_missed = later is not None and isinstance(error, StoreError)
        if is_missed or isinstance(error, StoreUnavailableError | AppendConflictError):
            self._unended[held_id] = (aggregate, later or command)
            self._keep()
        else:
            self._unended.pop(held_id, None)

    async def others(self, writer_ids: Iterable[str]) -> dict[str, Lease]:
        """The leases of these writers that have not run out. A writer without one is gone for good. Raises
        StoreError."""
        leases = await self._leases.of(set(writer_ids))
        return {writer_id: lease for writer_id, lease in leases.items() if lease.seconds_left > 0}

    async def close(self) -> None:
        """Ends what is still held, and drops the lease."""
        ends = [
            self.end(held_id, held.aggregate, held.ending(LOG_CLOSED, False))
            for held_id, held in list(self._live.items())
            if held is not None
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
        """Gives up what this writer had held, which may have been taken over, and takes another id."""
        lost, self.writer_id, self._is_held = self.writer_id, new_token(), False
        given_up = {id_: held for id_, held in self._live.items() if held is not None and held.writer_id == lost}
        self._unended.clear()
        if given_up:
            logger.warning("the lease ran out before it was renewed: %d steps and turns are given up", len(given_up))
        for held_id, held in given_up.items():
            # Whoever goes on with it gets StepClosedError or TurnClosedError.
            self.end(held_id, held.aggregate, held.ending(LEASE_LOST, True))

    def _keep(self) -> None:
        if not self._is_closed and (self._keeping is None or self._keeping.done()):
            self._keeping = spawned(self._keep_alive(), "keeping the lease")

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.seconds / 3)
            if not (self._live or self._unended):
                return
            with suppress(TurnlogError):  # the next renewal asks again, and the database says whether it ran out
                async with self._asking:
                    if self._is_held:
                        await self._renew()
            for held_id, (aggregate, command) in list(self._unended.items()):
                self.end(held_id, aggregate, command)
