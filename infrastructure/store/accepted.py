"""What was accepted under the ids of clients, however long ago: so that a retry is known as one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.infrastructure.store.dedup_keys import KeyedCommand, key_of

if TYPE_CHECKING:
    from turnlog.infrastructure.store.threads import Fetch


class AcceptedIds:
    """Looks up the ids of commands."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def find(self, session_id: UUID, command: KeyedCommand) -> str | None:
        """What was accepted in the session under the command's id: the fingerprint of a tool result, else an empty
        text. None if nothing was. Raises StoreError."""
        rows = await self._fetch("find_key", session_id, key_of(command))
        return rows[0][0] if rows else None
