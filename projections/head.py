"""The head of a projection: what is kept of it apart from the closed turns. A frozen pydantic model."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from turnlog.domain.state import Active, AnyState, SessionState
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.turn import Compaction, Message, Turn


class SessionHead(Frozen):
    """Everything in a projection except the closed turns. `state` is what the next decision starts from."""

    session_id: UUID
    user_id: str | None
    title: Text | None
    metadata: JsonObject
    counters: dict[str, dict[str, int]]
    version: int
    commit_id: int = 0
    started_at: datetime
    updated_at: datetime
    closed_turns: int
    turns: tuple[Turn, ...]
    pinned: tuple[Message, ...] = ()
    reached_back: int = 0
    rewrote: int = 0
    compaction: Compaction | None = None
    state: AnyState

    def whole_state(self) -> SessionState:
        """The state with what the head says apart from it."""
        state = self.state
        if isinstance(state, Active) and (self.metadata or self.counters):
            return state.with_facts(self.metadata, self.counters)
        return state
