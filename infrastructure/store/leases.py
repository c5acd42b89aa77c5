"""Leases: which writers are alive, and which steps are open, and turns in hand, although their writer is not.

They are kept in the database that holds the log, and its clock judges all of them: the clocks of two machines may
differ, and Redis may be empty or gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from turnlog.infrastructure.store.threads import Fetch


class Lease(NamedTuple):
    """A writer's lease. `seconds_left` is negative once it has run out."""

    writer_id: str
    host: str
    pid: int
    expires_at: datetime
    seconds_left: float


class Lapsed(NamedTuple):
    """A session with an open step, or a turn in hand, whose writer has no lease any more. What is not known of the
    writer is None."""

    session_id: UUID
    writer_id: str
    host: str | None
    pid: int | None
    expires_at: datetime | None


class Leases:
    """The table of the writers. Every method raises StoreError."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def begin(self, writer_id: str, seconds: float, host: str, pid: int) -> None:
        """Gives a new writer its lease, for so many seconds."""
        await self._fetch("begin_lease", writer_id, seconds, host, pid)

    async def renew(self, writer_id: str, seconds: float) -> bool:
        """Prolongs a lease to so many seconds from now. False if it has run out: then it stays so."""
        return bool(await self._fetch("renew_lease", seconds, writer_id))

    async def drop(self, writer_id: str) -> None:
        """Ends a lease. From then on its writer is gone."""
        await self._fetch("drop_lease", writer_id)

    async def of(self, writer_ids: Iterable[str]) -> dict[str, Lease]:
        """The leases of these writers, by id. Writers without a lease are left out."""
        rows = await self._fetch("leases", list(writer_ids))
        return {row[0]: Lease(*row) for row in rows}

    async def lapsed(self, after: UUID, limit: int) -> list[Lapsed]:
        """The next sessions, in the order of their ids and after the id `after`, with something open whose writer is
        gone."""
        return [Lapsed(*row) for row in await self._fetch("lapsed", after, limit)]

    async def clear(self, lapsed: Lapsed) -> None:
        """Notes that this writer has nothing open in the session."""
        await self._fetch("clear_writer", lapsed.session_id, lapsed.writer_id)

    async def forget_old(self) -> None:
        """Removes the leases that ran out more than a day ago and left nothing open."""
        await self._fetch("forget_leases")
