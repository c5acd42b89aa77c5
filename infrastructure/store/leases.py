"""Leases: which writers are alive, and whose steps are open though their writer is not.

They are rows of the database that holds the log, and its one clock judges them all: the clocks of two machines may
differ, and Redis may be empty or gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID


class Lease(NamedTuple):
    """A writer's lease. `seconds_left` is negative once it has run out."""

    writer_id: str
    host: str
    pid: int
    expires_at: datetime
    seconds_left: float


class Lapsed(NamedTuple):
    """A session whose open step's writer has no lease any more. What is not known of the writer is None."""

    session_id: UUID
    writer_id: str
    host: str | None
    pid: int | None
    expires_at: datetime | None


class Leases:
    """The table of the writers. `fetch` runs a named statement and gives its rows."""

    def __init__(self, fetch: Callable[..., Awaitable[list[tuple[Any, ...]]]]) -> None:
        self._fetch = fetch

    async def begin(self, writer_id: str, seconds: float, host: str, pid: int) -> None:
        """Gives a new writer its lease."""
        await self._fetch("begin_lease", writer_id, seconds, host, pid)

    async def renew(self, writer_id: str, seconds: float) -> bool:
        """Prolongs a lease that has not run out. False if it has: it is not brought back."""
        return bool(await self._fetch("renew_lease", seconds, writer_id))

    async def drop(self, writer_id: str) -> None:
        """Ends a lease: from here on its writer is gone."""
        await self._fetch("drop_lease", writer_id)

    async def of(self, writer_ids: Iterable[str]) -> dict[str, Lease]:
        """The leases of these writers, by id; a writer that has none is not among them."""
        rows = await self._fetch("leases", list(writer_ids))
        return {row[0]: Lease(*row) for row in rows}

    async def lapsed(self, after: UUID, limit: int) -> list[Lapsed]:
        """The next sessions behind the id `after` with a step that nobody alive writes."""
        return [Lapsed(*row) for row in await self._fetch("lapsed", after, limit)]

    async def clear(self, lapsed: Lapsed) -> None:
        """Takes note that this writer has no step open in the session."""
        await self._fetch("clear_writer", lapsed.session_id, lapsed.writer_id)

    async def forget_old(self) -> None:
        """Removes the leases that ran out a day ago and left nothing open."""
        await self._fetch("forget_leases")
