"""Turns while events still change them. A closed turn is thawed into one when an event changes it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from turnlog.domain.events import StepEnd, TurnEnd, TurnEnded, TurnStarted
from turnlog.domain.foreign import IN_PIECES
from turnlog.projections.ended import CallEvent, EndedFold, Orphans
from turnlog.projections.fold import StepFold
from turnlog.projections.segments import (
    SEGMENT_BYTES,
    SEGMENT_STEPS,
    can_be_cut_after,
    question_of,
    size_of,
    size_of_step,
)
from turnlog.projections.turn import Fault, LateResult, Message, Repair, ToolResult, Turn, TurnRun, UsageEntry


class TurnFold:
    """A turn that events still change, or a segment of it. `page` is its number among all of the session, and
    `is_continued` says that the next one is of the same turn."""

    __slots__ = (
        "_corrected",
        "_waiting",
        "flaws",
        "index",
        "is_continued",
        "is_queued",
        "late_results",
        "messages",
        "open_steps",
        "orphans",
        "page",
        "position",
        "repairs",
        "runs",
        "steps",
        "turn_id",
        "usage_reports",
    )

    def __init__(self, turn: Turn, page: int, *, is_continued: bool = False) -> None:
        self.page = page
        self.is_continued = is_continued
        self.index = turn.index
        self.position = turn.position
        self.turn_id = turn.turn_id
        self.runs: list[TurnRun] = list(turn.runs)
        self.is_queued = turn.is_queued
        self.messages: list[Message] = list(turn.messages)
        self.late_results: list[LateResult] = list(turn.late_results)
        self.steps: dict[str, StepFold | EndedFold] = {
            step.step_id: StepFold(step) if step.status == "open" else EndedFold(step) for step in turn.steps
        }
        self.open_steps = sum(isinstance(step, StepFold) for step in self.steps.values())
        self._waiting = {step.step_id for step in turn.steps if step.waiting()}
        self.usage_reports: list[UsageEntry] = list(turn.usage_reports)
        self.orphans = Orphans(turn.orphans)
        self.flaws: list[Fault] = list(turn.flaws)
        self.set_repairs(turn.repairs)

    def freeze(self) -> Turn:
        """The turn as it is now."""
        return Turn(
            index=self.index,
            position=self.position,
            messages=tuple(self.messages),
            steps=tuple(step.freeze() for step in self.steps.values()),
            turn_id=self.turn_id,
            runs=tuple(self.runs),
            is_queued=self.is_queued,
            late_results=tuple(self.late_results),
            usage_reports=tuple(self.usage_reports),
            orphans=self.orphans.in_order(),
            flaws=tuple(self.flaws),
            repairs=self.repairs,
        )

    def set_repairs(self, repairs: Iterable[Repair]) -> None:
        """Has these repairs, and no others, apply to the turn."""
        self.repairs = tuple(repairs)
        self._corrected = max((c.position for repair in self.repairs for c in repair.corrections), default=0)

    def is_open(self) -> bool:
        """Whether more may come for it than late results: it is in hand, or queued, or a step is open."""
        return self.open_steps > 0 or self.is_queued or self.is_in_hand

    @property
    def is_behind(self) -> bool:
        """See Turn."""
        return self.is_queued or (bool(self.runs) and not self.steps and not self.runs[-1].writer)

    @property
    def is_in_hand(self) -> bool:
        """Whether it has an owner now."""
        return not self.is_continued and bool(self.runs) and self.runs[-1].status is None

    @property
    def ends_a_segment(self) -> bool:
        """Whether the next step is to begin another segment: the turn can be cut here, and is long enough."""
        last = next(reversed(self.steps.values()), None)
        if not isinstance(last, EndedFold) or not can_be_cut_after(last.step) or not self._is_settled:
            return False
        question = sum(map(size_of, self._question))
        return len(self.steps) >= SEGMENT_STEPS or self._size >= max(SEGMENT_BYTES, 3 * question)

    @property
    def _is_settled(self) -> bool:
        if self.open_steps or self.orphans or self.repairs or next(reversed(self.steps)) in self._waiting:
            return False
        steps = (step for step in self.steps.values() if isinstance(step, EndedFold))
        if any(step.step.origin or (step.waits and step.step.status == "finished") for step in steps):
            return False
        return not any(message.origin for message in self.messages)

    @property
    def _question(self) -> tuple[Message, ...]:
        first = next(iter(self.steps.values()))
        return question_of(self.messages, (first.base if isinstance(first, StepFold) else first.step).position)

    @property
    def _size(self) -> int:
        steps = sum(size_of_step(step.freeze()) for step in self.steps.values())
        return steps + sum(map(size_of, self.messages))

    def next_segment(self, position: int) -> TurnFold:
        """The segment after this one, which is that of the turn from now on."""
        self.is_continued = True
        segment = Turn(
            index=self.index,
            position=position,
            turn_id=self.turn_id,
            messages=self._question,
            runs=(*self.runs[:1], *self.runs[1:][-1:]),
        )
        return TurnFold(segment, self.page + 1)

    def begin_run(self, event: TurnStarted, position: int) -> None:
        """Somebody takes the turn in hand."""
        self.turn_id, self.is_queued = event.turn_id, False
        self.runs.append(TurnRun(run=event.run, writer=event.writer, position=position, started_at=event.at))

    def lose_run(self, position: int, at: datetime) -> None:
        """Somebody else takes the session in hand."""
        self._end_run("abandoned", "", position, at)

    def end_run(self, event: TurnEnded, position: int) -> None:
        """Ends the latest run, or says otherwise how it ended. A turn in the queue has one that ends as it begins."""
        if self.is_queued:
            self.turn_id, self.is_queued = event.turn_id, False
            self.runs.append(TurnRun(run=event.run, writer="", position=position, started_at=event.at))
        self._end_run(event.status, event.reason, position, event.at)

    def _end_run(self, status: TurnEnd, reason: str, position: int, at: datetime) -> None:
        ended = {"status": status, "reason": reason, "ended_position": position, "ended_at": at}
        self.runs[-1] = self.runs[-1].model_copy(update=ended)

    def absorb(self, other: TurnFold) -> None:
        """Takes all that another turn holds. Neither has steps."""
        self.turn_id = self.turn_id or other.turn_id
        self.messages = sorted((*self.messages, *other.messages), key=lambda message: message.position)
        self.late_results = sorted((*self.late_results, *other.late_results), key=lambda late: late.position)
        self.runs += other.runs
        self.usage_reports += other.usage_reports
        self.flaws += other.flaws
        for orphan in other.orphans.in_order():
            self.orphans.add(orphan)
        self.set_repairs((*self.repairs, *other.repairs))

    def has_ended(self, *, has_news: bool, waits: bool) -> bool | None:
        """Whether the turn has ended, as `Turn.has_ended` has it, without a look at its other steps. None where that
        does not tell: where a repair or a response of several items may have changed the last step. `waits`: a call of
        an earlier segment waits for somebody."""
        if self.is_queued or self.is_in_hand:
            return False
        last = next(reversed(self.steps.values()), None)
        step = None if last is None else last.base if isinstance(last, StepFold) else last.step
        if self.runs and (step is None or step.position < (self.runs[-1].ended_position or 0)):
            return None if self.repairs else self._has_run_ended(self.runs[-1], has_news=has_news, waits=waits)
        if step is None or step.origin in IN_PIECES or step.position <= self._corrected:
            return None
        if isinstance(last, StepFold):
            return False
        if self.is_open():
            return None if self.repairs else False
        return step.status != "finished" or not (step.message.calls_something or step.is_paused)

    def _has_run_ended(self, run: TurnRun, *, has_news: bool, waits: bool) -> bool:
        if run.status not in ("finished", "waiting"):
            return True
        return not has_news and (run.status == "finished" or not (waits or self._waiting))

    def add_step(self, step_id: str, step: StepFold | EndedFold) -> None:
        """Adds a step after the others."""
        self.steps[step_id] = step
        self.open_steps += isinstance(step, StepFold)

    def end_step(self, end: StepEnd) -> EndedFold:
        """Ends an open step."""
        step = self.steps[end.step_id]
        assert isinstance(step, StepFold)  # noqa: S101 whoever calls has found it open
        self.steps[end.step_id] = ended = EndedFold(step.ended(end))
        self.open_steps -= 1
        return ended

    def add_result(self, step_id: str, result: ToolResult) -> bool:
        """Files a result under its call. False if the step has no such call."""
        is_filed = self.steps[step_id].add_result(result)
        self._calls_changed(step_id)
        return is_filed

    def note_call(self, event: CallEvent, position: int, *, late: bool) -> bool:
        """Notes what has become of a call. False if the step has no such call."""
        is_noted = self.steps[event.step_id].note_call(event, position, late=late)
        self._calls_changed(event.step_id)
        return is_noted

    def _calls_changed(self, step_id: str) -> None:
        (self._waiting.add if self.steps[step_id].notes.waits else self._waiting.discard)(step_id)


def frozen(turn: Turn | TurnFold) -> Turn:
    """The turn as it is now."""
    return turn.freeze() if isinstance(turn, TurnFold) else turn
