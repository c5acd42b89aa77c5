"""The last turns of a session, for somebody who works on it: they are loaded once, and then only what comes is read."""

from __future__ import annotations

from uuid import UUID

from turnlog.infrastructure.read.views import Views
from turnlog.projections.projector import Projector


class LatestTurns:
    """The turns that are not closed, and the one before them. One caller at a time; a projector that was given is the
    caller's until the next call. Both methods raise StoreError."""

    def __init__(self, views: Views, session_id: UUID) -> None:
        self._views = views
        self._session_id = session_id
        self._held: Projector | None = None

    async def now(self) -> Projector:
        """As they are stored now."""
        held, self._held = self._held, None  # a read that breaks off may leave it half done
        if held is None:
            self._held = await self._views.load_end(self._session_id, 1)
        else:
            self._held = await self._views.go_on(held)
        return self._held

    async def at(self, version: int, commit_id: int) -> Projector:
        """As they are at this position, which the caller knows to be the last one; or later, if that was to be read."""
        held = self._held
        if held is not None and (held.version, held.commit_id) == (version, commit_id):
            return held
        return await self.now()
