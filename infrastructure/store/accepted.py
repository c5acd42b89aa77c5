"""What was accepted under the ids of clients, however long ago: so that a retry is known as one."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.commands import Command
from turnlog.infrastructure.store.dedup_keys import KeyedCommand, key_of, result_key

if TYPE_CHECKING:
    from turnlog.infrastructure.store.threads import Fetch


class AcceptedResults:
    """Looks up final results."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def find(self, session_id: UUID, call_id: str, step_id: str | None) -> str | None:
        """The fingerprint of the final result of this step's call (None: of the latest call of the id). None if there
        is no result. Raises StoreError."""
        rows = await self._fetch("find_key", session_id, result_key(call_id, step_id))
        return rows[0][0] if rows else None


def with_taken(command: Command, taken: AbstractSet[bytes]) -> Command:
    """The command, which knows that its id was accepted before if its key is taken."""
    if isinstance(command, KeyedCommand) and key_of(command) in taken:
        return replace(command, known=True)
    return command
