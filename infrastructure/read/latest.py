"""The last turns of a session, for somebody who works on it: they are loaded once, and then only what comes is read."""

from __future__ import annotations

from uuid import UUID

from turnlog.infrastructure.read.views import Views
from turnlog.projections.projector import Projector

PAGES_AT_MOST, PAGES_TO_HOLD = 8, 4
"""Closed turns and segments that are held at most, and how many of them stay when there are more."""


class LatestTurns:
    """The turns that are not closed, and some before them; of a long turn the last segments. One caller at a time; a
    projector that was given is the caller's until the next call. Both methods raise StoreError."""

    def __init__(self, views: Views, session_id: UUID) -> None:
        self._views = views
        self._session_id = session_id
        self._held: Projector | None = None

    async def now(self) -> Projector:
        """As they are stored now."""
        held, self._held = self._held, None  # a read that breaks off may leave it half done
        if held is None:
            held = await self._views.load_end(self._session_id, 1)
        else:
            held = await self._views.go_on(held)
        # However long somebody works here, what is held stays small.
        if held.closed_turns - held.first_turn > PAGES_AT_MOST:
            held = Projector.resume(held.head(), held.pages_from(held.closed_turns - PAGES_TO_HOLD))
        self._held = held
        return held

    async def at(self, version: int, commit_id: int) -> Projector:
        """As they are at this position, which the caller knows to be the last one; or later, if that was to be read."""
        held = self._held
        if held is not None and (held.version, held.commit_id) == (version, commit_id):
            return held
        return await self.now()
