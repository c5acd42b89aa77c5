"""Where an open log tells what it does, for whoever measures it. Light to import: it knows nothing of measuring.

`Observer` is told, and does nothing with it. Each log has one; that of a log without telemetry is SILENT. What happens
to every delta is not told one by one: an observer that wants to know is given what each commit has stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from turnlog.domain.events import StepEnd

if TYPE_CHECKING:
    from turnlog.infrastructure.store.appends import Append
    from turnlog.infrastructure.tables.catching_up import Lag
    from turnlog.projections.step import StepToolCall

Kept = Literal["view", "prompt"]
"""What is kept of a session for its next reader."""

Proxied = Literal["recorded", "refused", "unrecorded", "passed"]
"""What becomes of a request through the recording proxy. `passed`: of a kind that is not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAsked:
    """A step that is about to begin. `run` is that of its turn; empty without an owner."""

    session_id: UUID
    step_id: str
    model: str | None
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnHeld:
    """A turn that was taken in hand."""

    session_id: UUID
    turn_id: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What a log can be asked at any time, from any thread."""

    events: Callable[[], int]
    commits: Callable[[], int]
    failed: Callable[[], int]
    queued: Callable[[], int]
    followers: Callable[[], int]
    followed: Callable[[], int]
    follow_reads: Callable[[], int]


class Observer:
    """Is told what a log does, on its event loop. No method may raise."""

    is_silent = True
    """Whether nobody listens, so that nothing has to be prepared for it."""

    def stored(self, appends: Sequence[Append]) -> None:
        """A commit has stored these. Not called where `is_silent`."""

    def step_begins(self, step: StepAsked) -> None:
        """A step is on its way to the store. The caller's context is that of whoever asks for it."""

    def step_refused(self, step_id: str) -> None:
        """It did not begin."""

    def step_reads(self, step_id: str, api: str) -> None:
        """The first of its response has come, by this API."""

    def step_ended(self, step_id: str, end: StepEnd | None) -> None:
        """It was found to have been ended elsewhere, so that the end is not among what is `stored` here."""

    def turn_begins(self, turn: TurnHeld) -> None:
        """A turn is in hand."""

    def turn_lost(self, run: str) -> None:
        """It is not any more: somebody else has ended it."""

    def tool_begins(self, run: str, step_id: str, call: StepToolCall) -> None:
        """The tool of a call is about to run."""

    def inside(self, held_id: str) -> AbstractContextManager[None]:
        """Around what is done for a run, a step, or a tool (see `tool_key`)."""
        return nullcontext()

    def asked_by(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Around what is done for a request with these headers."""
        return nullcontext()

    def looked_up(self, kept: Kept, is_there: bool) -> None:
        """A reader has looked for what is kept, and it was of use or not."""

    def prompted(self, session_id: UUID, api: str, prompt: Any) -> None:
        """A prompt was made, which is what the provider is going to be sent."""

    def proxied(self, outcome: Proxied) -> None:
        """A request has gone through the recording proxy."""

    def opened(self, gauges: Gauges) -> Callable[[], None]:
        """The log is open, and can be asked. Returns what to call when it is closed."""
        return lambda: None

    def lags(self, lags: Sequence[Lag]) -> None:
        """How far the projections are behind. Not called where `is_silent`."""


SILENT = Observer()


def tool_key(step_id: str, index: int) -> str:
    """What a running tool is known by."""
    return f"{step_id}:{index}"
