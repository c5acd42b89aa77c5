"""Questions where sessions stand, which are asked at once and answered a little later.

Meanwhile a reader may begin to read, but only if the session is expected to be the principal's: else a stranger could
tell by the time that it takes how long the session is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.errors import SessionNotFoundError
from turnlog.infrastructure.principal import Principal, owns

if TYPE_CHECKING:
    from turnlog.infrastructure.store.standings import Standing
    from turnlog.infrastructure.store.store import EventStore


class Asked:
    """Where a session stands, for turnlog itself. `base` is a position whose commit id is asked for as well. `since` is
    when the call began (of `time.monotonic`; None: now): its time counts from then on."""

    __slots__ = ("_answer", "_since", "_store", "base", "is_expected", "session_id")

    def __init__(self, store: EventStore, session_id: UUID, base: int = 0, since: float | None = None) -> None:
        self.session_id = session_id
        self.base = base
        self.is_expected = True
        """Whether the session was the principal's when it was asked for last."""
        self._store = store
        self._since = time.monotonic() if since is None else since
        self._answer = store.standings.ask(session_id, base, self._since)

    async def standing(self) -> Standing:
        """The answer. Raises StoreError."""
        standing = await self._answer
        return await self._asked_again(standing) if standing is None or standing.is_unlisted else standing

    async def _asked_again(self, standing: Standing | None) -> Standing:
        return await self._store.asked_again(standing, self._since, self.session_id, self.base)


class AskedAccess(Asked):
    """Where a session stands, for a principal."""

    __slots__ = ("principal",)

    def __init__(
        self, store: EventStore, session_id: UUID, principal: Principal, base: int = 0, since: float | None = None
    ) -> None:
        super().__init__(store, session_id, base, since)
        self.principal = principal
        self.is_expected = owns(principal, store.standings.last_owner(session_id))

    async def standing(self) -> Standing:
        """The answer. Raises SessionNotFoundError when the session is unknown, deleted, or not the principal's, and
        StoreError."""
        standing = await self._answer
        if standing is None or standing.is_unlisted:
            standing = await self._asked_again(standing)
        if not standing.exists or not owns(self.principal, standing.user_id):
            raise SessionNotFoundError(self.session_id)
        return standing
