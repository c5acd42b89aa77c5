"""What the process remembers of the prompts that it read last."""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from turnlog.infrastructure.cache import Entry


class PromptMemory:
    """The entries that were read last: where a session still stands there, Redis need not be asked. Texts, and not what
    they were parsed to, which callers change as they like."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[UUID, Entry] = OrderedDict()
        self._bytes = 0

    def get(self, session_id: UUID) -> Entry | None:
        """The entry, if it is still remembered."""
        return self._entries.get(session_id)

    def put(self, session_id: UUID, entry: Entry) -> None:
        """Remembers an entry, in place of the ones that were not read for longest."""
        self.drop(session_id)
        self._entries[session_id] = entry
        self._bytes += len(entry.value)
        while self._bytes > self._limit:
            self.drop(next(iter(self._entries)))

    def drop(self, session_id: UUID) -> None:
        """Forgets an entry."""
        if (gone := self._entries.pop(session_id, None)) is not None:
            self._bytes -= len(gone.value)
