"""The prompts that this process has read last."""

from __future__ import annotations

from collections import OrderedDict

from turnlog.infrastructure.cache_entry import Entry


class PromptMemory:
    """The cache entries that were read last, up to `limit` bytes. For a session that is still at the position of its
    entry, Redis need not be asked.

    Entries are texts and not parsed messages, because callers may change the messages that they get.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Entry | None:
        """The entry of this key, if it is still remembered."""
        return self._entries.get(key)

    def put(self, entry: Entry) -> None:
        """Remembers an entry, and forgets the ones that were used longest ago if there is no room."""
        if self._entries.get(entry.key) is entry:
            self._entries.move_to_end(entry.key)
            return
        self.drop(entry.key)
        self._entries[entry.key] = entry
        self._bytes += len(entry.value)
        while self._bytes > self._limit:
            self.drop(next(iter(self._entries)))

    def drop(self, *keys: str) -> None:
        """Forgets entries."""
        for key in keys:
            if (gone := self._entries.pop(key, None)) is not None:
                self._bytes -= len(gone.value)
