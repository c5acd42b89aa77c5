"""The ends of sessions in parts, as this process has counted them last."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple
from uuid import UUID

from turnlog.projections.prompt import Api, PromptPolicy
from turnlog.projections.prompt.window_parts import Parts


class WindowKind(NamedTuple):
    """Of which session a window is, and what kind of prompt it is."""

    session_id: UUID
    api: Api
    policy: PromptPolicy


class Counted(NamedTuple):
    """Parts as of the event at `position`, which has this commit id; `compacted` is the position of the compaction that
    applies then (0: none)."""

    parts: Parts
    position: int
    commit_id: int
    compacted: int


class WindowMemory:
    """What was counted last, up to `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counted: OrderedDict[WindowKind, Counted] = OrderedDict()
        self._bytes = 0

    def get(self, kind: WindowKind) -> Counted | None:
        """What was counted, if it is still remembered."""
        return self._counted.get(kind)

    def put(self, kind: WindowKind, counted: Counted) -> None:
        """Remembers it, and forgets what was used longest ago if there is no room."""
        self.drop(kind)
        self._counted[kind] = counted
        self._bytes += counted.parts.size
        while self._bytes > self._limit:
            self.drop(next(iter(self._counted)))

    def drop(self, kind: WindowKind) -> None:
        """Forgets what was counted."""
        if (gone := self._counted.pop(kind, None)) is not None:
            self._bytes -= gone.parts.size

    def forget(self, session_id: UUID) -> None:
        """Forgets all of a session."""
        for kind in [kind for kind in self._counted if kind.session_id == session_id]:
            self.drop(kind)
