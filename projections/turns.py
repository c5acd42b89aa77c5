"""The turns that a projection holds, and where in them each step is.

A closed turn is held as it is in the view. When an event changes it, it is thawed, and stays so.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from turnlog.domain.events import Content, StepEnd, TurnEnded, TurnStarted
from turnlog.projections.ended import CallNotes, EndedFold, text_without_result
from turnlog.projections.fold import StepFold, TurnFold, frozen
from turnlog.projections.repair import corrected
from turnlog.projections.turn import Fault, LateResult, Message, Repair, Step, StepToolCall, ToolResult, Turn


class StepLocation(NamedTuple):
    """Where a step is: the index of its turn, and its number in that turn, from 0 on. They sort in the log's order."""

    turn: int
    number: int
    step_id: str


class Turns:
    """Turns in the order of the session: all of them, or the last ones.

    `first_turn` is the index of the first turn that is held. `reached_back` is the position of the last event that
    changed a turn which had ended and was not the last one. `imported_ids` are the ids of imported calls.
    """

    def __init__(self) -> None:
        self.first_turn = 0
        self.reached_back = 0
        self.imported_ids: set[str] = set()
        self._turns: list[Turn | TurnFold] = []
        self._locations: dict[str, StepLocation] = {}
        self._callers: dict[str, list[StepLocation]] = {}  # the ended steps with a call of this id, in order
        self._open: dict[str, tuple[StepFold, TurnFold]] = {}
        self._pinned: tuple[Message, ...] = ()
        self._in_hand: int | None = None  # the index of the turn that has an owner

    def restore(
        self, pages: Iterable[Turn], unclosed: Iterable[Turn], closed: int, pinned: tuple[Message, ...]
    ) -> None:
        """Takes the last closed turns, of which the session has `closed` in total, the turns after them, and the pinned
        messages of all closed turns."""
        self._pinned = pinned
        self._turns = list[Turn | TurnFold](pages)
        self.first_turn = closed - len(self._turns)
        self._turns += [TurnFold(turn) for turn in unclosed]
        for turn in self._turns:
            self._index(turn)
        in_hand = (turn.index for turn in reversed(self._turns[closed - self.first_turn :]) if turn.is_in_hand)
        self._in_hand = next(in_hand, None)

    @property
    def size(self) -> int:
        """About the number of turns, steps and calls that are held: what most that is made of them costs."""
        calling = sum(len(step.calls) for step, _ in self._open.values())
        return len(self._turns) + len(self._locations) + len(self._callers) + calling

    @property
    def joined_turn(self) -> str | None:
        """The id of the turn to which a message of the user goes: see `domain.turns`."""
        return None

    @property
    def in_hand(self) -> int | None:
        """The index of the turn that has an owner now."""
        return self._in_hand

    @property
    def is_streaming(self) -> bool:
        """Whether a step is open."""
        return bool(self._open)

    @property
    def has_turn_ended(self) -> bool:
        """Whether the last turn, as the view has it, has ended (see Turn), and none is in the queue. What was stopped in
        the queue is not the last one."""
        if not self._turns or self._queued():
            return False
        turn = self._turns[self._latest]
        known = turn.has_ended() if isinstance(turn, TurnFold) else None
        return self._read(turn).has_ended if known is None else known

    @property
    def turn_count(self) -> int:
        """The number of turns in the session."""
        return self.first_turn + len(self._turns)

    @property
    def closed_turns(self) -> int:
        """The number of closed turns in the session: those at its beginning that only late results still change."""
        return self.first_turn + self._closed

    @property
    def _closed(self) -> int:
        for number, turn in enumerate(self._turns):
            if number == self._latest or (isinstance(turn, TurnFold) and turn.is_open()):
                return number
        return 0

    @property
    def _latest(self) -> int:
        """The number of the latest turn among those that are held, but for those that are in the queue, or were stopped
        there."""
        numbers = range(len(self._turns) - 1, -1, -1)
        return next((number for number in numbers if not _is_behind(self._turns[number])), len(self._turns) - 1)

    @property
    def pinned(self) -> tuple[Message, ...]:
        """The system and developer messages of the turns before the first one that is held."""
        held = {message.position for turn in self._turns for message in turn.messages}
        return tuple(message for message in self._pinned if message.position not in held)

    def pinned_in_pages(self) -> tuple[Message, ...]:
        """The system and developer messages of all closed turns, also of those that are not held."""
        known = {message.position for message in self._pinned}
        closed = self._turns[: self._closed]
        fresh = (m for turn in closed for m in turn.messages if m.is_pinned and m.position not in known)
        return (*self._pinned, *fresh)

    # The turns as they are read

    def turns(self) -> tuple[Turn, ...]:
        """The turns that are held, with repairs applied."""
        return tuple(self._read(turn) for turn in self._turns)

    def _read(self, turn: Turn | TurnFold) -> Turn:
        """The turn as it is read: with its repairs, and with its news."""
        read = corrected(frozen(turn))
        goes_on = read.runs and not read.is_in_hand and read.turn_id == self.joined_turn
        return read.model_copy(update={"has_news": True}) if goes_on else read

    def raw_turns(self) -> tuple[Turn, ...]:
        """The turns that are held, as they were recorded: no repair is applied, and `faults` is empty."""
        return tuple(map(frozen, self._turns))

    def unclosed_turns(self) -> tuple[Turn, ...]:
        """The turns after the closed ones."""
        return tuple(map(frozen, self._turns[self._closed :]))

    def pages(self, after: int = 0) -> tuple[Turn, ...]:
        """The closed turns that an event after the position `after` has changed, for keeping."""
        return tuple(frozen(turn) for turn in self._turns[: self._closed] if turn.position > after)

    def pages_from(self, index: int) -> tuple[Turn, ...]:
        """The closed turns from this one on, for keeping. They must be held."""
        return tuple(frozen(turn) for turn in self._turns[index - self.first_turn : self._closed])

    def prepend(self, pages: Sequence[Turn]) -> None:
        """Takes the closed turns before the first one that is held, as they are now."""
        self._turns[:0] = pages
        self.first_turn -= len(pages)
        for page in pages:
            self._index(page)

    # For the events that change them

    def knows_step(self, step_id: str) -> bool:
        """Whether the step was opened in one of the turns that are held."""
        return step_id in self._locations

    def _index(self, turn: Turn | TurnFold) -> None:
        if isinstance(turn, Turn):
            for number, step in enumerate(turn.steps):
                location = self._locations[step.step_id] = StepLocation(turn.index, number, step.step_id)
                self._index_calls(location, step)
        else:
            for number, (step_id, fold) in enumerate(turn.steps.items()):
                self._index_step(turn, number, step_id, fold)

    def _index_step(self, turn: TurnFold, number: int, step_id: str, step: StepFold | EndedFold) -> None:
        location = self._locations[step_id] = StepLocation(turn.index, number, step_id)
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

    def current(self, position: int) -> TurnFold:
        """The turn that what comes at `position` is for: the one that is to be gone on with, or else the next in the
        queue, or else the latest."""
        if self._in_hand is not None:
            return self.thawed(self._in_hand, position)
        queued = self._queued() if self.joined_turn is None else ()
        return self.thawed(self.first_turn + queued[0], position) if queued else self.latest(position)

    def _queued(self) -> list[int]:
        """The numbers of the queued turns among those that are held, in order: they come after all steps."""
        queued = list[int]()
        for number in range(len(self._turns) - 1, -1, -1):
            turn = self._turns[number]
            if turn.steps:
                break
            if turn.is_queued:
                queued.insert(0, number)
        return queued

    def latest(self, position: int) -> TurnFold:
        """The latest turn, but for queued ones, which the event at `position` changes."""
        if not self._turns:
            self._turns.append(TurnFold(Turn(index=0, position=position)))
        return self.thawed(self.first_turn + self._latest, position)

    def thawed(self, index: int, position: int, *, rewrites: bool = True) -> TurnFold:
        """The turn of this index, which the event at `position` changes. `rewrites`: prompts have it otherwise then."""
        number = index - self.first_turn
        turn = self._held(number)
        if rewrites and number < len(self._turns) - 1 and not turn.is_open():
            self.reached_back = position
        self._touch(turn, position)
        return turn

    def _touch(self, turn: TurnFold, position: int) -> None:
        """Notes that the event at `position` changes the turn."""
        turn.position = position

    def add_fault(self, kind: str, position: int, message: str, index: int | None = None) -> None:
        """Notes in the latest turn what is wrong with the event at `position`."""
        fault = Fault(kind=kind, position=position, index=index, message=message)
        self.latest(position).flaws.append(fault)

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

    def add_step(self, step_id: str, step: StepFold | EndedFold, position: int, turn_id: str = "") -> None:
        """Adds a step to the turn of this id, or to the latest turn, unless there is one with its id. What is queued is
        answered by a step without a turn."""
        if step_id in self._locations:
            self.add_fault("repeated_step", position, f"step {step_id} was opened twice")
            return
        latest = self._latest
        if not turn_id and self._in_hand is None:
            self._join_queued()
        turn = self.current(position)
        self._close_from(latest, position)
        turn.add_step(step_id, step)
        self._index_step(turn, len(turn.steps) - 1, step_id, step)

    def _join_queued(self) -> None:
        """Makes one turn of those that are queued."""
        queued = self._queued()
        if not queued:
            return
        first, *others = (self._held(number) for number in queued)
        first.is_queued = False
        for other in others:
            first.messages += other.messages
        self._turns = [turn for number, turn in enumerate(self._turns) if number not in queued[1:]]
        for number in range(queued[0], len(self._turns)):
            self._held(number).index = self.first_turn + number

    def begin_turn(self, event: TurnStarted, position: int) -> None:
        """Somebody takes a turn in hand."""
        if self._in_hand is not None and self.thawed(self._in_hand, position).turn_id != event.turn_id:
            self.end_turn(self._lost(event), position)
        latest, turn = self._latest, self._wanted(event.turn_id, position)
        turn.begin_run(event, position)
        self._close_from(latest, position)
        self._in_hand = turn.index

    def _close_from(self, number: int, position: int) -> None:
        """Notes that the turns from this number on were closed, because a later one began."""
        for closed in range(max(0, number), self._latest):
            self._touch(self._held(closed), position)

    def end_turn(self, event: TurnEnded, position: int) -> None:
        """The turn has no owner any more."""
        turn = self._wanted(event.turn_id, position)
        if turn.index == self._in_hand:
            self._in_hand = None
        turn.end_run(event, position)

    def _lost(self, event: TurnStarted) -> TurnEnded:
        turn = self._held((self._in_hand or 0) - self.first_turn)
        run = turn.runs[-1].run
        return TurnEnded(at=event.at, turn_id=turn.turn_id or "", run=run, status="abandoned")

    def _wanted(self, turn_id: str, position: int) -> TurnFold:
        """The turn of this id, or with the message of this id: one that is queued, or the latest that has begun."""
        for number in range(len(self._turns) - 1, -1, -1):
            turn = self._turns[number]
            if turn.turn_id == turn_id or any(message.message_id == turn_id for message in turn.messages):
                return self.thawed(self.first_turn + number, position)
            if turn.steps:
                break
        return self.current(position)

    def end_step(self, end: StepEnd, position: int) -> None:
        """Ends an open step."""
        if self.open_step(end.step_id, position):
            _, turn = self._open.pop(end.step_id)
            self._index_calls(self._locations[end.step_id], turn.end_step(end).step)

    def add_texts(self, step_id: str, texts: Sequence[str], first: int) -> None:
        """Adds texts to a step. Their events have the positions from `first` on."""
        if step_id in self._open:
            step, turn = self._open[step_id]
            step.content.extend(texts)
            self._touch(turn, first + len(texts) - 1)
            return
        for position in range(first, first + len(texts)):
            self.open_step(step_id, position)  # each of them is a fault

    def add_message(self, message: Message, *, queued: bool = False) -> None:
        """Adds a message that is not a step's. A user message after a turn begins another one, unless that is to be gone
        on with; a queued one always does."""
        latest, turn = self._latest, self.current(message.position)
        is_after = bool(turn.steps or turn.runs) and self.joined_turn is None
        if queued or (message.role == "user" and is_after):
            turn = TurnFold(Turn(index=self.turn_count, position=message.position, is_queued=queued))
            self._turns.append(turn)
            self._close_from(latest, message.position)
        turn.messages.append(message)

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
        step = self._held(location.turn - self.first_turn).steps[location.step_id]
        assert isinstance(step, EndedFold)  # noqa: S101 its calls are indexed when it ends
        return step

    def _held(self, number: int) -> TurnFold:
        """The turn of this number among those that are held, thawed."""
        turn = self._turns[number]
        if isinstance(turn, Turn):
            turn = self._turns[number] = TurnFold(turn)
        return turn

    def turn_of(self, step: Step, position: int) -> TurnFold:
        """The turn of a step, which the event at `position` changes."""
        return self.thawed(self._locations[step.step_id].turn, position)

    def file_result(self, step_id: str, result: ToolResult, *, late: bool = False) -> bool:
        """Files a result under its call. False if the step has no such call. A late one leaves prompts what they had,
        and stands in the current turn, too."""
        location = self._locations.get(step_id)
        if location is None:
            return False
        position = result.position
        step = self.thawed(location.turn, position, rewrites=not late).steps[step_id]
        call = step.call(result.index) if late else None
        if call is not None:
            before = step.results.get(result.index)
            if before is None:
                sent: Content = text_without_result(step.freeze(), result.index)
            else:
                sent = before.content if before.sent is None else before.sent
            result = result.model_copy(update={"sent": sent})
            if result.status != "pending":
                self.current(position).late_results.append(_late(step_id, call, result))
        return step.add_result(result)

    def note_of_call(self, step_id: str, position: int) -> CallNotes | None:
        """The notes about the calls of a step, which the event at `position` changes. None if there is no such step."""
        location = self._locations.get(step_id)
        if location is None:
            return None
        return self.thawed(location.turn, position, rewrites=False).steps[step_id].changed()

    def add_repair(self, index: int, repair: Repair, position: int) -> None:
        """Applies a repair to a turn, if there is such a turn."""
        if self.first_turn <= index < self.turn_count:
            turn = self.thawed(index, position)
            turn.set_repairs((*turn.repairs, repair))

    def withdraw_repair(self, repair_id: str, position: int) -> None:
        """Withdraws a repair from all turns."""
        for index, turn in enumerate(self._turns, self.first_turn):
            if any(repair.repair_id == repair_id for repair in turn.repairs):
                thawed = self.thawed(index, position)
                thawed.set_repairs(repair for repair in thawed.repairs if repair.repair_id != repair_id)


def _is_behind(turn: Turn | TurnFold) -> bool:
    """Whether it is in the queue, or was stopped there before anybody had begun it."""
    return turn.is_queued or (bool(turn.runs) and not turn.steps and not turn.runs[-1].writer)


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
