"""Where in the turns each step is, and what is filed under it: deltas, results, and what is noted of its calls."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from turnlog.domain.events import (
    CompletionStarted,
    MessageImported,
    RepairWithdrawn,
    SessionEvent,
    SessionRepaired,
    StepEnd,
    TurnEnded,
    TurnStarted,
)
from turnlog.projections.ended import CallEvent, EndedFold
from turnlog.projections.fold import StepFold
from turnlog.projections.owned_turns import OwnedTurns
from turnlog.projections.turn import LateResult, Message, Step, StepToolCall, ToolResult, Turn
from turnlog.projections.turn_fold import TurnFold


class StepLocation(NamedTuple):
    """Where a step is: the page of its turn or segment, and its number in there, from 0 on. They sort in the log's
    order."""

    page: int
    number: int
    step_id: str


class Turns(OwnedTurns):
    """Turns and their steps. `imported_ids` are the ids of imported calls."""

    def __init__(self) -> None:
        super().__init__()
        self.imported_ids: set[str] = set()
        self._locations: dict[str, StepLocation] = {}
        self._callers: dict[str, list[StepLocation]] = {}  # the ended steps with a call of this id, in order
        self._open: dict[str, tuple[StepFold, TurnFold]] = {}

    def restore(
        self, pages: Iterable[Turn], unclosed: Iterable[Turn], closed: int, pinned: tuple[Message, ...]
    ) -> None:
        """See HeldTurns."""
        super().restore(pages, unclosed, closed, pinned)
        self._index_all()

    def _index_all(self) -> None:
        for index in (self._locations, self._callers, self._open):
            index.clear()
        for page, turn in enumerate(self._turns, self.first_turn):
            self._index(turn, page)

    def join_segments(self, index: int, position: int) -> None:
        """See HeldTurns."""
        before = self.reached_back
        super().join_segments(index, position)
        if self.reached_back != before:
            self._index_all()

    def prepend(self, pages: Sequence[Turn]) -> None:
        """See HeldTurns."""
        super().prepend(pages)
        for number, page in enumerate(pages, self.first_turn):
            self._index(page, number)

    @property
    def size(self) -> int:
        """About the number of turns, steps and calls that are held: what most that is made of them costs."""
        calling = sum(len(step.calls) for step, _ in self._open.values())
        return len(self._turns) + len(self._locations) + len(self._callers) + calling

    @property
    def is_streaming(self) -> bool:
        """Whether a step is open."""
        return bool(self._open)

    def knows_step(self, step_id: str) -> bool:
        """Whether the step was opened in one of the turns that are held."""
        return step_id in self._locations

    def _reaches_back(self, event: SessionEvent) -> bool:
        """Whether the event may change, or depend on, a turn before the first one that is held."""
        if isinstance(event, MessageImported | SessionRepaired | RepairWithdrawn):
            return True
        if isinstance(event, CompletionStarted):
            # `decide` opens each step under a new id.
            before = (event.supersedes, event.continues)
            return any(step_id and not self.knows_step(step_id) for step_id in before)
        if isinstance(event, TurnStarted | TurnEnded):
            return not self.knows_turn(event.turn_id)
        step_id = getattr(event, "step_id", None)
        return step_id is not None and not self.knows_step(step_id)

    def _index(self, turn: Turn | TurnFold, page: int) -> None:
        if isinstance(turn, Turn):
            for number, step in enumerate(turn.steps):
                location = self._locations[step.step_id] = StepLocation(page, number, step.step_id)
                self._index_calls(location, step)
        else:
            for number, (step_id, fold) in enumerate(turn.steps.items()):
                self._index_step(turn, number, step_id, fold)

    def _index_step(self, turn: TurnFold, number: int, step_id: str, step: StepFold | EndedFold) -> None:
        location = self._locations[step_id] = StepLocation(turn.page, number, step_id)
        if isinstance(step, EndedFold):
            self._index_calls(location, step.step)
        else:
            self._open[step_id] = (step, turn)

    def _index_calls(self, location: StepLocation, step: Step) -> None:
        call_ids = {call.id for call in step.message.tool_calls}
        for call_id in call_ids:
            insort(self._callers.setdefault(call_id, []), location)
        if step.origin is not None:
            self.imported_ids.update(call_ids - {""})

    def open_step(self, step_id: str, position: int) -> StepFold | None:
        """The open step that the event at `position` changes. If it is not open, the event is a fault."""
        found = self._open.get(step_id)
        if found is None:
            known = step_id in self._locations
            kind, why = ("closed_step", "has ended") if known else ("unknown_step", "was never opened")
            self.add_fault(kind, position, f"an event for step {step_id}, which {why}")
            return None
        self._touch(found[1], position)
        return found[0]

    def add_step(self, step_id: str, step: StepFold | EndedFold, position: int) -> None:
        """Adds a step to the turn in hand, or else to the latest, unless there is one with its id. Where nothing is in
        hand, it answers what is queued, too."""
        if step_id in self._locations:
            self.add_fault("repeated_step", position, f"step {step_id} was opened twice")
            return
        if self._in_hand is None:
            self.join_queued(position)
        turn = self.latest(position) if self._in_hand is None else self.current(position)
        base = step.base if isinstance(step, StepFold) else step.step
        if any(self._is_of_earlier_segment(turn, other) for other in (base.supersedes, base.continues)):
            self.join_segments(turn.index, position)
            turn = self.thawed(turn.page, position)
        elif self.cuts_turns and turn.ends_a_segment and not self._has_steps_after(turn):
            turn = self.begin_segment(turn, position)
        turn.add_step(step_id, step)
        self._index_step(turn, len(turn.steps) - 1, step_id, step)

    def _is_of_earlier_segment(self, turn: TurnFold, step_id: str | None) -> bool:
        location = None if step_id is None else self._locations.get(step_id)
        if location is None or location.page == turn.page:
            return False
        return self._turns[location.page - self.first_turn].index == turn.index

    def _has_steps_after(self, turn: TurnFold) -> bool:
        return any(later.steps for later in self._turns[turn.page + 1 - self.first_turn :])

    def end_step(self, end: StepEnd, position: int) -> None:
        """Ends an open step."""
        if self.open_step(end.step_id, position):
            _, turn = self._open.pop(end.step_id)
            self._index_calls(self._locations[end.step_id], turn.end_step(end).step)

    def add_texts(self, step_id: str, texts: Sequence[str], first: int) -> None:
        """Adds texts to a step. Their events have the positions from `first` on."""
        if step_id in self._open:
            step, turn = self._open[step_id]
            step.add_texts(texts)
            self._touch(turn, first + len(texts) - 1)
            return
        for position in range(first, first + len(texts)):
            self.open_step(step_id, position)  # each of them is a fault

    def steps_before(self) -> Iterator[EndedFold]:
        """The steps that have ended, the latest first."""
        for number in range(len(self._turns) - 1, -1, -1):
            steps = reversed(self._held(number).steps.values())
            yield from (step for step in steps if isinstance(step, EndedFold))

    def steps_that_called(self, call_id: str) -> Iterator[EndedFold]:
        """Of the ended steps with a call of this id: the latest one, then the latest of the others whose call has no
        result."""
        callers = self._callers.get(call_id, [])
        if callers:
            yield self._ended_step(callers[-1])
        # A step never loses results: one whose calls are all answered is not looked at again.
        while len(callers) > 1:
            step = self._ended_step(callers[-2])
            call = step.call_of(call_id)
            if call is not None and call.index not in step.results:
                yield step
                return
            del callers[-2]

    def _ended_step(self, location: StepLocation) -> EndedFold:
        step = self._held(location.page - self.first_turn).steps[location.step_id]
        assert isinstance(step, EndedFold)  # noqa: S101 its calls are indexed when it ends
        return step

    def turn_of(self, step: Step, position: int) -> TurnFold:
        """The turn of a step, which the event at `position` changes."""
        return self.thawed(self._locations[step.step_id].page, position)

    def file_result(self, step_id: str, result: ToolResult, *, late: bool = False) -> bool:
        """Files a result under its call. False if the step has no such call. A late one leaves prompts what they had,
        and stands in the current turn, too."""
        location = self._locations.get(step_id)
        if location is None:
            return False
        position = result.position
        turn = self.thawed(location.page, position, rewrites=not late)
        step = turn.steps[step_id]
        call = step.call(result.index) if late else None
        if call is not None:
            result = result.model_copy(update=_as_sent(step, result))
            if result.status != "pending":
                self.current(position).late_results.append(_late(step_id, call, result))
        return turn.add_result(step_id, result)

    def note_call(self, event: CallEvent, position: int, *, late: bool) -> None:
        """Notes what has become of a call. Without such a call the event is a fault."""
        step_id, location = event.step_id, self._locations.get(event.step_id)
        if location is None:
            self.add_fault("unknown_step", position, f"an event for step {step_id}, which was never opened")
            return
        turn = self.thawed(location.page, position, rewrites=False)
        if not turn.note_call(event, position, late=late):
            self.add_fault("unknown_call", position, f"step {step_id} has no call {event.index}")


def _as_sent(step: StepFold | EndedFold, late: ToolResult) -> dict[str, Any]:
    """What prompts go on to have in the place of a late result."""
    before = step.results.get(late.index)
    if before is None:
        return {"sent": step.notes.text_without_result(late.index), "was_missing": True}
    sent = before.content if before.sent is None else before.sent
    return {"sent": sent, "was_missing": before.was_missing}


def _late(step_id: str, call: StepToolCall, result: ToolResult) -> LateResult:
    return LateResult(
        step_id=step_id,
        index=call.index,
        call_id=result.call_id,
        name=call.name,
        arguments=call.arguments,
        status=result.status if result.status != "synthetic" else "final",
        content=result.content,
        position=result.position,
        at=result.at,
    )
