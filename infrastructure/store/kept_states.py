"""Kept states: what decisions rest on, one row a session, beside its events. They are derived from the events and may
be dropped at any time. Rows of another schema are not read."""

from __future__ import annotations

from uuid import UUID

from turnlog.infrastructure.store.threads import StoreThreads
from turnlog.projections.head import SessionHead
from turnlog.projections.projector import VIEW_SCHEMA
from turnlog.projections.stored_state import STATE_SCHEMA, KeptState, StoredState

HEAD_LEAD = 128
"""Events by which the head of a kept view has to be newer than a kept state, to be read in its place: it is larger."""


class KeptStates:
    """Every method raises StoreError."""

    def __init__(self, threads: StoreThreads) -> None:
        self._threads = threads

    async def load(self, session_id: UUID) -> StoredState | None:
        """What is kept of the session: its state, or that of its kept view where this is much newer. None if nothing is
        kept that can be read."""
        bounds = (session_id, STATE_SCHEMA, session_id, VIEW_SCHEMA, HEAD_LEAD)
        rows = await self._threads.fetch("load_state", *bounds)
        for is_head, body in sorted(rows, reverse=True):
            stored = _stored(body, is_head=is_head)
            if stored is not None and stored.state.session_id == session_id:
                return stored
        return None

    async def save(self, stored: StoredState) -> int:
        """Keeps the state, unless what is there is newer. Returns how many bytes it has."""
        return await self._threads.run(self._save, stored)

    def _save(self, stored: StoredState) -> int:
        # On the thread, because a state may hold thousands of calls.
        body = KeptState.of(stored).to_json()
        self._threads.fetch_here("save_state", stored.state.session_id, STATE_SCHEMA, stored.version, body)
        return len(body)

    async def forget(self, session_id: UUID) -> None:
        """Drops what is kept: the next one who decides reads the events."""
        await self._threads.fetch("drop_state", session_id)


def _stored(body: bytes, *, is_head: bool) -> StoredState | None:
    try:
        if not is_head:
            return KeptState.from_json(body).stored()
        head = SessionHead.from_json(body)
        return StoredState(head.whole_state(), head.version, head.commit_id)
    except ValueError:
        return None
