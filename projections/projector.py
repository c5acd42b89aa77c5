"""The projector: folds recorded events into turns and steps, each event filed under the step that it names.

It can stop after any event, be kept as a head and pages, and go on from there with the same outcome. The
pages are the closed turns, which change no more but for a late tool result; the head is all the rest.

It can go on from the head and the last few pages too, so that what comes at the end of a long session costs the same as
at its beginning. An event that reaches back further raises PagesNeeded: then all pages have to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from turnlog.domain import events as e
from turnlog.domain.evolve import evolve
from turnlog.domain.foreign import ForeignMessage, ForeignResult
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import Active, AnyState, SessionState, initial_state
from turnlog.domain.values import Frozen, JsonObject, Text, merge_patch
from turnlog.projections.fold import StepFold, TurnFold, new_step, with_result
from turnlog.projections.imported import calls_meant, foreign_step, is_attempt_again, whole_step
from turnlog.projections.placeholders import is_placeholder
from turnlog.projections.queue import mark_queued
from turnlog.projections.repair import corrected, mended
from turnlog.projections.usage import total_usage
from turnlog.projections.view import (
    Compaction,
    Fault,
    Message,
    Repair,
    SessionView,
    Step,
    StepToolCall,
    ToolResult,
    Turn,
    UsageEntry,
)

VIEW_SCHEMA = 4
"""The version of the kept shapes. A head or page of another version is not read but folded anew."""


class SessionHead(Frozen):
    """All of a projection but its closed turns. `state` is what the next decision starts from."""

    session_id: UUID
    user_id: str | None
    title: Text | None
    metadata: JsonObject
    counters: dict[str, dict[str, int]]
    version: int
    started_at: datetime
    updated_at: datetime
    closed_turns: int
    turns: tuple[Turn, ...]
    pinned: tuple[Message, ...] = ()
    reached_back: int = 0
    compaction: Compaction | None = None
    state: AnyState


class PagesNeeded(Exception):  # noqa: N818 nobody's error: it says what to read
    """An event changes, or may change, a turn that was not read. The projector must not be used any more."""


def _frozen(turn: Turn | TurnFold) -> Turn:
    return turn.freeze() if isinstance(turn, TurnFold) else turn


class Projector:
    """A fold in progress. `version` is the position of the last event that it has seen (0: none).

    `first_turn` is the index of the first turn that it holds: not 0 where it was resumed without all pages.
    `reached_back` is the position of the last event that changed a turn which had ended, with another one behind it.
    """

    def __init__(self, session_id: UUID) -> None:
        self.session_id = session_id
        self.version = 0
        self.state: SessionState = initial_state(session_id)
        self._user_id: str | None = None
        self._title: str | None = None
        self._metadata: JsonObject = {}
        self._counters: dict[str, dict[str, int]] = {}
        self._started_at: datetime | None = None
        self._updated_at: datetime | None = None
        self.first_turn = 0
        self.reached_back = 0
        self._turns: list[Turn | TurnFold] = []
        self._turn_of: dict[str, int] = {}
        self._open: dict[str, tuple[StepFold, TurnFold]] = {}
        self._compaction: Compaction | None = None
        self._imported_ids: set[str] = set()
        self._steps_of_call: dict[str, dict[str, None]] = {}  # those that have ended
        self._pinned: tuple[Message, ...] = ()
        self._changed_from: int | None = None

    @classmethod
    def resume(cls, head: SessionHead, pages: Iterable[Turn]) -> Projector:
        """The projector that `head` was taken from. `pages` are the last closed turns, in order: all of them, or as
        many as are wanted."""
        self = cls(head.session_id)
        self.version, self.state = head.version, head.state
        self._user_id, self._title = head.user_id, head.title
        self._metadata = head.metadata
        self._counters = {name: dict(keys) for name, keys in head.counters.items()}
        self._started_at, self._updated_at = head.started_at, head.updated_at
        self._compaction = head.compaction
        self._pinned, self.reached_back = head.pinned, head.reached_back
        self._turns = list[Turn | TurnFold](pages)
        self.first_turn = head.closed_turns - len(self._turns)
        self._turns += [TurnFold(turn) for turn in head.turns]
        for turn in self._turns:
            self._index(turn)
        return self

    @property
    def exists(self) -> bool:
        """Whether the session was started and not deleted."""
        return isinstance(self.state, Active)

    @property
    def is_streaming(self) -> bool:
        """Whether a step is open."""
        return bool(self._open)

    @property
    def has_turn_ended(self) -> bool:
        """Whether the last turn, as the view has it, has ended (see Turn)."""
        return bool(self._turns) and corrected(_frozen(self._turns[-1])).has_ended

    @property
    def closed_turns(self) -> int:
        """How many turns, from the first on, change no more but for a late tool result."""
        return self.first_turn + self._closed

    @property
    def _closed(self) -> int:
        for place, turn in enumerate(self._turns):
            if place == len(self._turns) - 1 or (isinstance(turn, TurnFold) and turn.is_open()):
                return place
        return 0

    def apply(self, recorded: RecordedEvent) -> None:
        """Folds one event in. An event that was seen already changes nothing. Raises PagesNeeded."""
        if recorded.position <= self.version:
            return
        event = recorded.event
        if self.first_turn and self._reaches_back(event):
            raise PagesNeeded
        self.version = recorded.position
        self.state = evolve(self.state, event)
        self._updated_at = event.at
        self._FOLDS[type(event)](self, event, recorded.position)

    def apply_texts(self, first: int, step_id: str, texts: Sequence[str]) -> None:
        """Folds the texts of a step in that stand at the positions from `first` on.

        As `apply` would, without their events, but for the time at which the session was last updated: an event has to
        come after them. Raises PagesNeeded.
        """
        texts = texts[max(0, self.version + 1 - first) :]
        if not texts:
            return
        if self.first_turn and step_id not in self._turn_of:
            raise PagesNeeded
        for position in range(self.version + 1, self.version + 1 + len(texts)) if step_id not in self._open else ():
            self._open_step(step_id, position)  # each one is a fault
        self.version += len(texts)
        if step_id in self._open:
            step, turn = self._open[step_id]
            step.content.extend(texts)
            self._touch(turn, self.version)

    def _reaches_back(self, event: e.SessionEvent) -> bool:
        """Whether the event may change, or depend on, a turn before the first one that is here."""
        if isinstance(event, e.MessageImported | e.SessionRepaired | e.RepairWithdrawn):
            return True
        if isinstance(event, e.CompletionStarted):
            return False  # decide opens a step under an id of its own
        step_id = getattr(event, "step_id", None)
        return step_id is not None and step_id not in self._turn_of

    def apply_all(self, events: Iterable[RecordedEvent]) -> Projector:
        """Folds the events in, in order. Raises PagesNeeded."""
        for event in events:
            self.apply(event)
        return self

    def view(self) -> SessionView:
        """The session as it is now. The session must have been started, and all its turns be there."""
        turns = mark_queued(self.turns())
        return SessionView(
            session_id=self.session_id,
            user_id=self._user_id,
            title=self._title,
            metadata=self._metadata,
            counters=self._counters,
            version=self.version,
            started_at=self._time(self._started_at),
            updated_at=self._time(self._updated_at),
            turns=turns,
            usage=total_usage(turns),
            compaction=self._compaction,
        )

    def head(self) -> SessionHead:
        """All but the closed turns, for keeping."""
        closed = self._closed
        return SessionHead(
            session_id=self.session_id,
            user_id=self._user_id,
            title=self._title,
            metadata=self._metadata,
            counters=self._counters,
            version=self.version,
            started_at=self._time(self._started_at),
            updated_at=self._time(self._updated_at),
            closed_turns=self.first_turn + closed,
            turns=tuple(map(_frozen, self._turns[closed:])),
            pinned=self._pinned_upto(closed),
            reached_back=self.reached_back,
            compaction=self._compaction,
            state=self.state,
        )

    def pages(self, after: int = 0) -> tuple[Turn, ...]:
        """The closed turns that an event after the position `after` has changed, for keeping."""
        return tuple(_frozen(turn) for turn in self._turns[: self._closed] if turn.position > after)

    def prepend(self, pages: Sequence[Turn]) -> None:
        """Takes the closed turns before the first one that is here, as they are now."""
        self._turns[:0] = pages
        self.first_turn -= len(pages)
        for page in pages:
            self._index(page)

    def pages_from(self, index: int) -> tuple[Turn, ...]:
        """The closed turns from this one on, for keeping. They must be there."""
        return tuple(_frozen(turn) for turn in self._turns[index - self.first_turn : self._closed])

    def raw_turns(self) -> tuple[Turn, ...]:
        """The turns as they were recorded: no repair is applied, and `faults` is empty."""
        return tuple(map(_frozen, self._turns))

    def turns(self) -> tuple[Turn, ...]:
        """The turns that are there, repairs applied."""
        return tuple(corrected(_frozen(turn)) for turn in self._turns)

    @property
    def turn_count(self) -> int:
        """How many turns there are."""
        return self.first_turn + len(self._turns)

    def take_changed(self) -> int | None:
        """The index of the first turn that has changed since this was last asked; None where none has."""
        changed, self._changed_from = self._changed_from, None
        return changed

    def mended_turns(self, index: int) -> tuple[Turn, ...]:
        """The turns from this one on, repairs applied, without a look for faults: what prompts are made of."""
        return tuple(mended(_frozen(turn)) for turn in self._turns[index - self.first_turn :])

    @property
    def pinned(self) -> tuple[Message, ...]:
        """The system and developer messages of the turns before the first that is there."""
        loaded = {message.position for turn in self._turns for message in turn.messages}
        return tuple(message for message in self._pinned if message.position not in loaded)

    @property
    def compaction(self) -> Compaction | None:
        """The latest compaction."""
        return self._compaction

    @property
    def user_id(self) -> str | None:
        """Who owns the session."""
        return self._user_id

    # The turns

    def _pinned_upto(self, closed: int) -> tuple[Message, ...]:
        known = {message.position for message in self._pinned}
        fresh = (m for turn in self._turns[:closed] for m in turn.messages if m.is_pinned and m.position not in known)
        return (*self._pinned, *fresh)

    def _index(self, turn: Turn | TurnFold) -> None:
        if isinstance(turn, Turn):
            for closed in turn.steps:
                self._index_step(closed.step_id, closed, turn.index)
            return
        for step_id, step in turn.steps.items():
            self._index_step(step_id, step, turn.index)
            if isinstance(step, StepFold):
                self._open[step_id] = (step, turn)

    def _index_step(self, step_id: str, step: Step | StepFold, turn: int) -> None:
        self._turn_of[step_id] = turn
        if not isinstance(step, Step):
            return
        for call in step.message.tool_calls:
            self._steps_of_call.setdefault(call.id, {})[step_id] = None
        if step.origin is not None:
            self._imported_ids.update(call.id for call in step.message.tool_calls if call.id)

    def _turn(self, position: int) -> TurnFold:
        """The latest turn, which the event at `position` changes."""
        if not self._turns:
            self._turns.append(TurnFold(Turn(index=0, position=position)))
        return self._thawed(self.first_turn + len(self._turns) - 1, position)

    def _thawed(self, index: int, position: int) -> TurnFold:
        place = index - self.first_turn
        turn = self._turns[place]
        if isinstance(turn, Turn):
            turn = self._turns[place] = TurnFold(turn)
        if place < len(self._turns) - 1 and not turn.is_open():
            self.reached_back = position
        self._touch(turn, position)
        return turn

    def _touch(self, turn: TurnFold, position: int) -> None:
        turn.position = position
        if self._changed_from is None or turn.index < self._changed_from:
            self._changed_from = turn.index

    def _fault(self, kind: str, position: int, message: str, index: int | None = None) -> None:
        fault = Fault(kind=kind, position=position, index=index, message=message)
        self._turn(position).flaws.append(fault)

    def _open_step(self, step_id: str, position: int) -> StepFold | None:
        found = self._open.get(step_id)
        if found is None:
            known = step_id in self._turn_of
            kind, why = ("closed_step", "has ended") if known else ("unknown_step", "was never opened")
            self._fault(kind, position, f"an event for step {step_id}, which {why}")
            return None
        self._touch(found[1], position)
        return found[0]

    def _add_step(self, step_id: str, step: Step | StepFold, position: int) -> None:
        if step_id in self._turn_of:
            self._fault("repeated_step", position, f"step {step_id} was opened twice")
            return
        turn = self._turn(position)
        turn.steps[step_id] = step
        self._index_step(step_id, step, turn.index)
        if isinstance(step, StepFold):
            self._open[step_id] = (step, turn)

    # One method an event

    def _session_started(self, event: e.SessionStarted, _position: int) -> None:
        if self._started_at is None:
            self._user_id, self._title, self._metadata = event.user_id, event.title, event.metadata
            self._started_at = event.at

    def _owner_assigned(self, event: e.OwnerAssigned, _position: int) -> None:
        self._user_id = event.user_id

    def _titled(self, event: e.SessionTitled, _position: int) -> None:
        self._title = event.title

    def _metadata_set(self, event: e.MetadataSet, _position: int) -> None:
        self._metadata = merge_patch(self._metadata, event.patch)

    def _counted(self, event: e.CounterIncremented, _position: int) -> None:
        keys = self._counters.get(event.counter, {})
        self._counters = {**self._counters, event.counter: {**keys, event.key: keys.get(event.key, 0) + event.by}}

    def _message_added(self, event: e.MessageAdded, position: int) -> None:
        if event.role == "assistant":
            self._add_step(event.message_id, whole_step(event, position), position)
            return
        message = Message(
            message_id=event.message_id,
            position=position,
            role=event.role,
            content=event.content,
            name=event.name,
            at=event.at,
        )
        self._add_message(message)

    def _add_message(self, message: Message) -> None:
        turn = self._turn(message.position)
        if message.role == "user" and turn.steps:
            turn = TurnFold(Turn(index=turn.index + 1, position=message.position))
            self._turns.append(turn)
        turn.messages.append(message)

    # Imported messages. A result is filed under its call wherever that is; that it was out of place is a fault.

    def _message_imported(self, event: e.MessageImported, position: int) -> None:
        reading = event.reading
        for flaw in reading.flaws:
            self._fault(flaw.kind, position, flaw.text)
        for place, item in enumerate(reading.items):
            step_id = e.imported_step_id(event.message_id, place)
            if isinstance(item, ForeignResult):
                self._imported_result(item, event, position)
            elif item.role == "assistant":
                self._imported_step(item, step_id, event, position)
            else:
                message = Message(
                    message_id=step_id,
                    position=position,
                    role=item.role,
                    content=item.content,
                    name=item.name,
                    at=event.at,
                    origin=event.format,
                )
                self._add_message(message)

    def _imported_step(self, item: ForeignMessage, step_id: str, event: e.MessageImported, position: int) -> None:
        step = foreign_step(item, step_id, event, position)
        reused = [call for call in step.message.tool_calls if call.id in self._imported_ids]
        turn = self._turn(position)
        for call in step.message.tool_calls:
            # A fast tool's result may have been stored before its call.
            early = next((orphan for orphan in turn.orphans if orphan.call_id == call.id != ""), None)
            if early is not None:
                turn.orphans.remove(early)
                step = with_result(step, early.model_copy(update={"index": call.index}))
        self._add_step(step_id, step, position)
        if not is_attempt_again(list(turn.steps.values()), step):
            for call in reused:
                self._fault("reused_call_id", position, f"the call id {call.id!r} was used before", call.index)

    def _imported_result(self, item: ForeignResult, event: e.MessageImported, position: int) -> None:
        result = ToolResult(
            call_id=item.call_id,
            index=-1,
            status="error" if item.is_error else "final",
            content=item.content,
            position=position,
            at=event.at,
            origin=event.format,
        )
        found = self._call_for(item)
        if found is None:
            self._turn(position).orphans.append(result)
            return
        step, call = found
        turn = self._thawed(self._turn_of[step.step_id], position)
        result = result.model_copy(update={"index": call.index})
        known = step.result_of(call.index)
        if known is None:
            turn.steps[step.step_id] = with_result(step, result)
        elif known.position < step.position:
            # The early result that the call was given before is not its own, for here is the one behind it.
            turn.steps[step.step_id] = with_result(step, result)
            turn.orphans.append(known)
        else:
            stays = is_placeholder(result.content) and not is_placeholder(known.content)
            if not stays:
                turn.steps[step.step_id] = with_result(step, result)
            which = "the first" if stays else "the last"
            text = f"call {item.call_id!r} has a second result; {which} one is kept"
            self._fault("duplicate_result", position, text, call.index)

    def _call_for(self, item: ForeignResult) -> tuple[Step, StepToolCall] | None:
        """The call that the result answers: the latest unanswered one of its id, else the latest one of its id."""
        answered: tuple[Step, StepToolCall] | None = None
        for step in self._steps_meant(item):
            for call in calls_meant(step, item):
                known = step.result_of(call.index)
                if known is None:
                    return step, call
                answered = answered or (step, call)
            if not item.call_id:
                return answered
        return answered

    def _steps_meant(self, item: ForeignResult) -> Iterator[Step]:
        """The steps that have ended and may have called for the result, the latest first."""
        if item.call_id:
            found = (self._ended_step(step_id) for step_id in self._steps_of_call.get(item.call_id, ()))
            yield from sorted(found, key=lambda step: step.position, reverse=True)
            return
        for turn in reversed(self._turns):
            steps: Iterable[Step | StepFold] = turn.steps if isinstance(turn, Turn) else tuple(turn.steps.values())
            yield from (step for step in reversed(tuple(steps)) if isinstance(step, Step))

    def _ended_step(self, step_id: str) -> Step:
        turn = self._turns[self._turn_of[step_id] - self.first_turn]
        steps = turn.steps if isinstance(turn, Turn) else (turn.steps[step_id],)
        return next(step for step in steps if isinstance(step, Step) and step.step_id == step_id)

    def _session_repaired(self, event: e.SessionRepaired, position: int) -> None:
        of_turn: dict[int, list[e.Correction]] = {}
        for correction in event.corrections:
            if correction.turn < len(self._turns):
                of_turn.setdefault(correction.turn, []).append(correction)
        for index, corrections in of_turn.items():
            repair = Repair(repair_id=event.repair_id, corrections=tuple(corrections))
            self._thawed(index, position).repairs.append(repair)

    def _repair_withdrawn(self, event: e.RepairWithdrawn, position: int) -> None:
        for index, turn in enumerate(self._turns):
            if any(repair.repair_id == event.repair_id for repair in turn.repairs):
                thawed = self._thawed(index, position)
                thawed.repairs = [repair for repair in thawed.repairs if repair.repair_id != event.repair_id]

    def _compacted(self, event: e.ContextCompacted, position: int) -> None:
        # What comes after the compaction is none of what it stands for, whatever the event says.
        self._compaction = Compaction(summary=event.summary, upto=min(event.upto, position), position=position)

    def _forked(self, event: e.SessionForked, position: int) -> None:
        pass  # where the session came from is for whoever reads its events

    def _completion_started(self, event: e.CompletionStarted, position: int) -> None:
        self._add_step(event.step_id, new_step(event.step_id, position, event.model, event.at), position)

    def _text(self, event: e.TextDelta, position: int) -> None:
        if step := self._open_step(event.step_id, position):
            step.content.append(event.text)

    def _refusal(self, event: e.RefusalDelta, position: int) -> None:
        if step := self._open_step(event.step_id, position):
            step.refusal.append(event.text)

    def _reasoning(self, event: e.ReasoningDelta, position: int) -> None:
        if step := self._open_step(event.step_id, position):
            step.reasoning_came(event)

    def _call_started(self, event: e.ToolCallStarted, position: int) -> None:
        step = self._open_step(event.step_id, position)
        if step and not step.call_started(event):
            self._fault("unknown_call", position, f"call {event.index} of step {event.step_id} was opened twice")

    def _call_changed(self, event: e.ToolCallNamed | e.ToolCallArgumentsDelta, position: int) -> None:
        step = self._open_step(event.step_id, position)
        if step is None:
            return
        known = step.call_named(event) if isinstance(event, e.ToolCallNamed) else step.arguments_came(event)
        if not known:
            self._fault("unknown_call", position, f"step {event.step_id} has no call {event.index}")

    def _function(self, event: e.FunctionCallDelta, position: int) -> None:
        if step := self._open_step(event.step_id, position):
            step.function_came(event)

    def _ended(self, event: e.StepEnd, position: int) -> None:
        if step := self._open_step(event.step_id, position):
            _, turn = self._open.pop(event.step_id)
            turn.steps[event.step_id] = ended = step.ended(event)
            self._index_step(event.step_id, ended, turn.index)

    def _result_added(self, event: e.ToolResultAdded, position: int) -> None:
        result = ToolResult(
            call_id=event.call_id,
            index=event.index,
            status=event.status,
            content=event.content,
            position=position,
            at=event.at,
        )
        if not self._file_result(event.step_id, result):
            self._fault("orphan_result", position, f"a result for {event.call_id!r}, which no step has called")

    def _file_result(self, step_id: str, result: ToolResult) -> bool:
        index = self._turn_of.get(step_id)
        if index is None:
            return False
        turn = self._thawed(index, result.position)
        step = turn.steps[step_id]
        if isinstance(step, StepFold):
            return step.result_came(result)
        if all(call.index != result.index for call in step.message.tool_calls):
            return False
        turn.steps[step_id] = with_result(step, result)
        return True

    def _usage_reported(self, event: e.UsageReported, position: int) -> None:
        entry = UsageEntry(step_id=None, position=position, model=event.model, usage=event.usage)
        self._turn(position).usage_reports.append(entry)

    def _deleted(self, event: e.SessionDeleted, position: int) -> None:
        pass  # `exists` says it; the turns stay readable to whoever audits the log

    @staticmethod
    def _time(at: datetime | None) -> datetime:
        if at is None:
            raise LookupError("the session has no events")
        return at

    _FOLDS: ClassVar[dict[type[e.SessionEvent], Callable[[Projector, Any, int], None]]] = {
        e.SessionStarted: _session_started,
        e.OwnerAssigned: _owner_assigned,
        e.SessionTitled: _titled,
        e.MetadataSet: _metadata_set,
        e.CounterIncremented: _counted,
        e.MessageAdded: _message_added,
        e.CompletionStarted: _completion_started,
        e.TextDelta: _text,
        e.RefusalDelta: _refusal,
        e.ReasoningDelta: _reasoning,
        e.ToolCallStarted: _call_started,
        e.ToolCallNamed: _call_changed,
        e.ToolCallArgumentsDelta: _call_changed,
        e.FunctionCallDelta: _function,
        e.CompletionFinished: _ended,
        e.CompletionInterrupted: _ended,
        e.CompletionFailed: _ended,
        e.CompletionAbandoned: _ended,
        e.ToolResultAdded: _result_added,
        e.UsageReported: _usage_reported,
        e.MessageImported: _message_imported,
        e.SessionRepaired: _session_repaired,
        e.RepairWithdrawn: _repair_withdrawn,
        e.ContextCompacted: _compacted,
        e.SessionForked: _forked,
        e.SessionDeleted: _deleted,
    }
