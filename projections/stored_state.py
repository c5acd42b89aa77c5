"""What decisions about a session rest on, as of an event that is stored; and how it is kept by itself."""

from __future__ import annotations

from typing import Any, NamedTuple, Self
from uuid import UUID

from turnlog.domain.state import Active, AnyState, SessionState, initial_state
from turnlog.domain.values import Frozen, JsonObject

STATE_SCHEMA = 1
"""The version of the kept shape. What has another one is not read: the state is made of the events anew."""


class StoredState(NamedTuple):
    """The state after an event that is stored, with the position and the commit id of that event. `kept` is the
    position up to which it is kept."""

    state: SessionState
    version: int
    commit_id: int
    kept: int = 0

    @classmethod
    def before_all(cls, session_id: UUID) -> Self:
        """The state before the first event."""
        return cls(initial_state(session_id), 0, 0)


class KeptState(Frozen):
    """A stored state as it is kept. It stays small, however long the session is."""

    session_id: UUID
    version: int
    commit_id: int
    state: AnyState
    metadata: JsonObject = {}
    counters: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, stored: StoredState) -> Self:
        """What is to be kept of this state."""
        state = stored.state
        fields: dict[str, Any] = {"version": stored.version, "commit_id": stored.commit_id, "state": state}
        if isinstance(state, Active):
            fields |= {"metadata": state.metadata, "counters": tuple(name for name, _ in state.counters)}
        return cls(session_id=state.session_id, **fields)

    def stored(self) -> StoredState:
        """The state that was kept."""
        state = self.state
        if isinstance(state, Active) and (self.metadata or self.counters):
            counters: dict[str, dict[str, int]] = {}
            for name, key in self.counters:
                counters.setdefault(name, {})[key] = 0
            state = state.with_facts(self.metadata, counters)
        return StoredState(state, self.version, self.commit_id, self.version)
