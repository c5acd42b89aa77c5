"""What a tool is told of the call that it runs for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The call for which a tool runs. A parameter of a tool that is annotated with it gets it; the model does not see
    that parameter.

    `session` is the Session, `index` the place of the call in its step, `attempt` 1 for the first run of the call and
    one more for each that follows a crash.
    """

    session: Any
    turn_id: str
    step_id: str
    call_id: str
    index: int
    name: str
    attempt: int = 1

    @property
    def key(self) -> str:
        """The same for every attempt of this call, and for no other call: an idempotency key for other systems."""
        return f"{self.step_id}:{self.index}"
