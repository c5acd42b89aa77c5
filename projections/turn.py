"""A turn and what it holds: messages, steps, tool results, usage reports, faults and repairs. Frozen pydantic models.

A *step* is one LLM response. It has one assistant message, whatever was recorded in between. A *turn* is what the user
sent and all steps that answer it. What a step consists of is defined in `step`, and can be imported from here, too.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from itertools import pairwise

from turnlog.domain.events import Content, Correction, Role, TurnEnd
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.turns import TurnStatus
from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.projections.step import (
    Approval,
    LateResult,
    OpenToolCall,
    Step,
    StepMessage,
    StepToolCall,
    ToolResult,
    ToolRun,
    WaitingToolCall,
)

__all__ = [
    "Approval",
    "Compaction",
    "Fault",
    "LateResult",
    "Message",
    "OpenToolCall",
    "Repair",
    "Step",
    "StepMessage",
    "StepToolCall",
    "ToolResult",
    "ToolRun",
    "Turn",
    "TurnRun",
    "Usage",
    "UsageEntry",
    "WaitingToolCall",
]


class Message(Frozen):
    """A message that is not a step's: system, developer, user, or a legacy function result.

    A `queued` message was sent while the step before it was open or had unanswered calls, and that is still so: the
    next prompt has it after that step and its results. Or its turn is queued.
    """

    message_id: str
    position: int
    role: Role
    content: Content | None
    name: Text | None = None
    at: datetime
    origin: ForeignFormat | None = None
    queued: bool = False

    @property
    def is_pinned(self) -> bool:
        """Whether every prompt has it, however old it is: a system or developer message."""
        return self.role in ("system", "developer")


class Fault(Frozen):
    """Something in the history that does not fit. Nothing is dropped silently.

    `position` is that of the event, `index` that of the call inside its step. `message` is a sentence for people.
    `provider_error` is what a provider answers when the history is sent as it stands; empty if none objects.
    """

    kind: Text
    position: int
    index: int | None = None
    message: Text
    provider_error: Text = ""


class Compaction(Frozen):
    """A summary that prompts have instead of what began at or before `upto`. `position` is that of its event."""

    summary: Text
    upto: int
    position: int


class Repair(Frozen):
    """The corrections of one repair to one turn."""

    repair_id: str
    corrections: tuple[Correction, ...]


class UsageEntry(Frozen):
    """One usage report, verbatim. `step_id` is None for usage that was reported outside a step."""

    step_id: str | None
    position: int
    model: Text | None = None
    usage: JsonObject


class Usage(Frozen):
    """Totals over all entries, in tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    entries: tuple[UsageEntry, ...] = ()


class TurnRun(Frozen):
    """The time for which one owner had the turn in hand. `status` is how that ended; None while it is in hand."""

    run: str
    writer: str
    position: int
    started_at: datetime
    status: TurnEnd | None = None
    reason: Text = ""
    ended_position: int | None = None
    ended_at: datetime | None = None


class Turn(Frozen):
    """What the user sent and what answered it. `position` is that of the last event that changed or closed the turn.

    `turn_id` and `runs` are there if it has had an owner; `is_queued` if it waits for the turn in hand; `has_news` if
    it has ended, and somebody has to go on with it because of what has come since: a message, a result, a decision.
    `orphans` are imported results without a call, `flaws` what was found wrong while events were read. In a SessionView
    the repairs have been applied, and `faults` are those that remain.
    """

    index: int
    position: int
    messages: tuple[Message, ...] = ()
    steps: tuple[Step, ...] = ()
    turn_id: str | None = None
    runs: tuple[TurnRun, ...] = ()
    is_queued: bool = False
    has_news: bool = False
    late_results: tuple[LateResult, ...] = ()
    usage_reports: tuple[UsageEntry, ...] = ()
    orphans: tuple[ToolResult, ...] = ()
    flaws: tuple[Fault, ...] = ()
    faults: tuple[Fault, ...] = ()
    repairs: tuple[Repair, ...] = ()

    @property
    def status(self) -> TurnStatus:
        """How far it is. Of a turn with an owner see TurnStatus. Else that of the last step; open while a step is open,
        while there is none, or while a finished last step has unanswered calls."""
        if self.is_queued:
            return "queued"
        last, run = self.steps[-1] if self.steps else None, self._run
        if run is not None:
            return self._status_of_run(run, last)
        if last is None or any(step.status == "open" for step in self.steps):
            return "open"
        return "open" if last.status == "finished" and last.unanswered_calls() else last.status

    @property
    def _run(self) -> TurnRun | None:
        """The latest run, unless steps without an owner have followed it."""
        run = self.runs[-1] if self.runs else None
        if run is None or run.ended_position is None or not self.steps:
            return run
        return None if self.steps[-1].position > run.ended_position else run

    def _status_of_run(self, run: TurnRun, last: Step | None) -> TurnStatus:
        if run.status is None:
            is_running = last is not None and last.status == "finished" and last.unanswered_calls()
            return "running_tools" if is_running else "answering"
        if run.status not in ("finished", "waiting"):
            return run.status
        if self.has_news:
            return "queued"
        return "waiting" if run.status == "waiting" and any(step.waiting() for step in self.steps) else "finished"

    def news_after(self, position: int) -> bool:
        """Whether a late result, or a message of the user, came after this position."""
        latest = [result.position for result in self.late_results[-1:]]
        latest += [message.position for message in self.messages if message.role == "user"][-1:]
        return any(came > position for came in latest)

    @property
    def is_behind(self) -> bool:
        """Whether it is in the queue, or was stopped there before anybody had begun it."""
        return self.is_queued or (bool(self.runs) and not self.steps and not self.runs[-1].writer)

    @property
    def is_in_hand(self) -> bool:
        """Whether it has an owner now."""
        return bool(self.runs) and self.runs[-1].status is None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to come: it has ended, or without an owner its last step has, and called no tools.

        A finished step that called tools does not end a turn without an owner, even when all calls are answered: the
        model is asked again.
        """
        status = self.status
        if self._run is not None or status in ("open", "queued"):
            return status in ("finished", "stopped", "failed", "abandoned")
        last = self.steps[-1]
        return status != "finished" or not (last.message.calls_something or last.is_paused)

    @property
    def goes_on(self) -> bool:
        """Whether whoever takes the session in hand goes on with this turn: it has no owner, and has not ended, or has
        had news since."""
        last = self.steps[-1].position if self.steps else 0
        return self._run is None and (not self.has_ended or self.news_after(last))

    def entries(self) -> list[Message | Step | LateResult]:
        """The messages, steps and late results in the order of the log."""
        entries: list[Message | Step | LateResult] = [*self.messages, *self.steps, *self.late_results]
        return sorted(entries, key=lambda entry: entry.position)

    @cached_property
    def _gone_over(self) -> tuple[frozenset[str], frozenset[str]]:
        superseded = frozenset(step.supersedes for step in self.steps if step.supersedes is not None)
        return superseded, frozenset(step.continues for step in self.steps if step.continues is not None)

    @cached_property
    def _followed(self) -> frozenset[str]:
        """The steps after which a message or a late result came before the next one: then a prompt has had both."""
        pairs = pairwise(self.entries())
        return frozenset(one.step_id for one, after in pairs if isinstance(one, Step) and not isinstance(after, Step))

    def _is_owned(self, step: Step) -> bool:
        return bool(self.runs) and step.position > self.runs[0].position

    @property
    def broken_off(self) -> Step | None:
        """The last step, if it is about to be made again: it was not finished, no call of it has had a result, and the
        user has said nothing since: else it has been read, and stays. Without an owner any message has been read."""
        last = self.steps[-1] if self.steps else None
        if last is None or last.status in ("open", "finished") or last.was_gone_on_from:
            return None
        is_read = self.news_after(last.position) or (last.step_id in self._followed and not self._is_owned(last))
        return None if is_read else last

    def has_replaced(self, step: Step) -> bool:
        """Whether a step of this turn is an attempt that a later one replaced."""
        superseded, continued = self._gone_over
        if step.step_id in superseded:
            return True
        if step.step_id in continued or self._is_owned(step):
            return False  # steps of an owner say what they supersede
        # An attempt whose calls were answered was continued and not made again.
        is_attempt = step.status in ("failed", "abandoned") and not step.was_gone_on_from
        return is_attempt and step is not self.steps[-1] and step.step_id not in self._followed
