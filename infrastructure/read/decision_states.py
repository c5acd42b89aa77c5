"""The states that decisions rest on: what is kept of each, and the events after it. Right with nothing kept, too.

A state is kept by itself, in a row of its own: whoever appends has that done now and then. So opening a session reads
no turns, and few events, however long the session is, and whether or not anybody has ever read its view.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.errors import StoreError, TurnlogError
from turnlog.infrastructure.tasks import Background
from turnlog.projections.stored_state import StoredState

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore


class DecisionStates:
    """Loads states, and keeps them for the next one who decides. `forget` drops all that is derived of a session."""

    def __init__(self, store: EventStore, background: Background, forget: Callable[[UUID], Awaitable[None]]) -> None:
        self._store = store
        self._background = background
        self._forget = forget

    async def load(self, session_id: UUID) -> StoredState:
        """The state as of now; that of an unknown session is the initial one. Raises StoreError."""
        kept = await self._store.states.load(session_id)
        if kept is not None:
            stored = await self._brought_up(kept)
            if stored is not None:
                return stored
            await self._forget(session_id)
        stored = await self._brought_up(StoredState.before_all(session_id))
        assert stored is not None  # noqa: S101 it rests on nothing
        return stored

    async def catch_up(self, stored: StoredState) -> StoredState:
        """The state after the events that others have appended since. Raises StoreError."""
        # None: the log has lost its last events.
        return await self._brought_up(stored) or await self.load(stored.state.session_id)

    def keep(self, stored: StoredState, told: Callable[[int], None] = lambda _: None) -> None:
        """Keeps the state in the background. `told` hears how many bytes it has; 0 where it was not kept."""
        self._background.spawn(self._keep(stored, told))

    async def _keep(self, stored: StoredState, told: Callable[[int], None]) -> None:
        size = 0
        with suppress(TurnlogError):  # whoever opens the session reads a little more
            size = await self._store.states.save(stored)
        told(size)

    async def _brought_up(self, stored: StoredState) -> StoredState | None:
        """None if the log does not have the event that the state rests on: then it belongs to another log, or to a past
        that is gone."""
        while (further := await self._store.events.evolve(stored)) is not None:
            stored, is_all = further
            if is_all:
                return stored
            with suppress(StoreError):  # whoever is broken off here has not read in vain
                await self._store.states.save(stored)
                stored = stored._replace(kept=stored.version)
        return None
