"""When the state of a session is kept by itself: seldom enough to cost next to nothing, and often enough that whoever
opens the session reads few events, however many it has, and whether or not anybody reads its view."""

from __future__ import annotations

import sys

from turnlog.domain.state import Active
from turnlog.infrastructure.read.decision_states import DecisionStates
from turnlog.projections.stored_state import StoredState

STATE_EVENTS = 64
"""Events after the kept state that make it worth keeping anew, once no step is open."""
STATE_EVENTS_IN_STEP = 1_024
"""The same in the middle of a step."""
LOOK_AGAIN_EVENTS = 32
"""Events until it is looked again whether the step has ended."""
STATE_BYTES_AN_EVENT = 64
"""A state that holds much is kept more seldom: at most so many bytes are written for each event."""


class StateKeeper:
    """Keeps the states of one session. `position` is that of the state that was kept last, `due` that of the next one
    that is worth offering."""

    __slots__ = ("_bytes", "_states", "due", "position")

    def __init__(self, states: DecisionStates) -> None:
        self._states = states
        self._bytes = 0
        self.begin(0)

    def begin(self, position: int) -> None:
        """The state at this position is kept."""
        self.position = position
        self.due = position + max(STATE_EVENTS, self._bytes // STATE_BYTES_AN_EVENT)

    def offer(self, stored: StoredState) -> None:
        """Has the state kept, in the background, unless it is better to wait for the end of a step."""
        state, fresh = stored.state, stored.version - self.position
        if isinstance(state, Active) and state.open_steps and fresh < STATE_EVENTS_IN_STEP:
            self.due = stored.version + LOOK_AGAIN_EVENTS
            return
        self.position, self.due = stored.version, sys.maxsize  # one at a time
        self._states.keep(stored, self._kept)

    def _kept(self, size: int) -> None:
        self._bytes = size
        self.begin(self.position)
