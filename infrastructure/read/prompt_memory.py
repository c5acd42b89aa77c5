"""The prompts that this process has read last."""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from turnlog.infrastructure.cache_entry import Entry


class PromptMemory:
    """The cache entries that were read last, up to `limit` bytes. For a session that is still at the position of its
    entry, Redis need not be asked.

    Entries are texts and not parsed messages, because callers may change the messages that they get.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[UUID, Entry] = OrderedDict()
        self._bytes = 0

    def get(self, session_id: UUID) -> Entry | None:
        """The entry, if it is still remembered."""
        return self._entries.get(session_id)

    def put(self, session_id: UUID, entry: Entry) -> None:
        """Remembers an entry, and forgets the ones that were used longest ago if there is no room."""
        if self._entries.get(session_id) is entry:
            self._entries.move_to_end(session_id)
            return
        self.drop(session_id)
        self._entries[session_id] = entry
        self._bytes += len(entry.value)
        while self._bytes > self._limit:
            self.drop(next(iter(self._entries)))

    def drop(self, session_id: UUID) -> None:
        """Forgets an entry."""
        if (gone := self._entries.pop(session_id, None)) is not None:
            self._bytes -= len(gone.value)
