"""The projector: folds recorded events into turns and steps. Each event is filed under the step that it names.

A projector can stop after any event, be kept as a head and pages, and go on from there with the same outcome. The pages
are the closed turns, which only a late tool result still changes; the head is all the rest.

It can also go on from the head and only the last few pages. So an event at the end of a long session costs as much as
one at its beginning. An event that reaches back further raises PagesNeeded: then all pages are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from turnlog.domain import events as e
from turnlog.domain.evolve import evolve
from turnlog.domain.quoting import quoted
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import Active, SessionState, initial_state
from turnlog.domain.turns import has_gone_on, joined_turn
from turnlog.domain.values import JsonObject, merge_patch
from turnlog.projections.ended import CallEvent
from turnlog.projections.fold import new_step
from turnlog.projections.head import SessionHead
from turnlog.projections.imported import fold_imported, whole_step
from turnlog.projections.queue import mark_queued
from turnlog.projections.turn import Compaction, Message, Repair, ToolResult, Turn, UsageEntry
from turnlog.projections.turns import Turns
from turnlog.projections.usage import total_usage
from turnlog.projections.view import SessionView

VIEW_SCHEMA = 10
"""The version of the kept shapes. Heads and pages of another version are not read: the session is folded anew."""


LARGE_SIZE, LARGE_BYTES = 300, 256 * 1024
"""Turns, steps and calls, or bytes, of a large projection. To hand work to a thread takes a tenth of a millisecond."""


class PagesNeeded(Exception):  # noqa: N818 nobody's error: it says what to read
    """An event changes, or may change, a turn that is not held. The projector cannot be used any more."""


class Projector(Turns):
    """A fold in progress. `version` is the position of the last event that it has seen, 0 before the first, and
    `commit_id` that event's commit id.

    `first_turn` is greater than 0 if it was resumed without some pages.
    """

    def __init__(self, session_id: UUID) -> None:
        super().__init__()
        self.session_id = session_id
        self.version = 0
        self.commit_id = 0
        self.read_bytes = 0
        """Bytes of what it was made of, as far as those who read them say."""
        self.state: SessionState = initial_state(session_id)
        self._user_id: str | None = None
        self._title: str | None = None
        self._metadata: JsonObject = {}
        self._counters: dict[str, dict[str, int]] = {}
        self._started_at: datetime | None = None
        self._updated_at: datetime | None = None
        self._compaction: Compaction | None = None

    @classmethod
    def resume(cls, head: SessionHead, pages: Iterable[Turn]) -> Projector:
        """The projector that `head` was taken from. `pages` are the last closed turns, in order: as many of them as are
        wanted."""
        self = cls(head.session_id)
        self.version, self.commit_id, self.state = head.version, head.commit_id, head.whole_state()
        self._user_id, self._title = head.user_id, head.title
        self._metadata = head.metadata
        self._counters = {name: dict(keys) for name, keys in head.counters.items()}
        self._started_at, self._updated_at = head.started_at, head.updated_at
        self._compaction = head.compaction
        self.reached_back, self.rewrote = head.reached_back, head.rewrote
        self.restore(pages, head.turns, head.closed_turns, head.pinned)
        return self

    @property
    def joined_turn(self) -> str | None:
        """See OwnedTurns."""
        return joined_turn(self.state) if isinstance(self.state, Active) else None

    @property
    def waiting_turn(self) -> str | None:
        """See OwnedTurns."""
        state = self.state
        return state.turn.turn_id if isinstance(state, Active) and state.turn and state.is_waiting else None

    @property
    def is_large(self) -> bool:
        """Whether it takes some ten milliseconds to make a view or a prompt of it: on a thread, beside the loop."""
        return self.size > LARGE_SIZE or self.read_bytes > LARGE_BYTES

    @property
    def exists(self) -> bool:
        """Whether the session was started, and not deleted."""
        return isinstance(self.state, Active)

    def apply(self, recorded: RecordedEvent) -> None:
        """Folds one event in. An event that was already seen changes nothing. Raises PagesNeeded."""
        if recorded.position <= self.version:
            return
        event = recorded.event
        if self.first_turn and self._reaches_back(event):
            raise PagesNeeded
        self.version, self.commit_id = recorded.position, recorded.commit_id
        self.state = evolve(self.state, event)
        self._updated_at = event.at
        self._FOLDS[type(event)](self, event, recorded.position)

    def apply_texts(self, first: int, step_id: str, texts: Sequence[str]) -> None:
        """Folds texts of a step in, whose events have the positions from `first` on.

        The outcome is that of applying the events, except for the time at which the session was last updated: an event
        must be applied after the texts. Raises PagesNeeded.
        """
        texts = texts[max(0, self.version + 1 - first) :]
        if not texts:
            return
        if self.first_turn and not self.knows_step(step_id):
            raise PagesNeeded
        self.add_texts(step_id, texts, self.version + 1)
        self.version += len(texts)

    def apply_all(self, events: Iterable[RecordedEvent]) -> Projector:
        """Folds the events in, in order. Raises PagesNeeded."""
        for event in events:
            self.apply(event)
        return self

    def view(self) -> SessionView:
        """The session as it is now. It must have been started, and all its turns must be held."""
        turns = mark_queued(self.turns())
        return SessionView(**self._facts(), turns=turns, usage=total_usage(turns))

    def head(self) -> SessionHead:
        """Everything except the closed turns, for keeping."""
        return SessionHead(
            **self._facts(),
            commit_id=self.commit_id,
            closed_turns=self.closed_turns,
            turns=self.unclosed_turns(),
            pinned=self.pinned_in_pages(),
            reached_back=self.reached_back,
            rewrote=self.rewrote,
            state=self.state,
        )

    def _facts(self) -> dict[str, Any]:
        """What a view and a head have in common."""
        if self._started_at is None:
            raise LookupError("the session has no events")
        return {
            "session_id": self.session_id,
            "user_id": self._user_id,
            "title": self._title,
            "metadata": self._metadata,
            "counters": self._counters,
            "version": self.version,
            "started_at": self._started_at,
            "updated_at": self._updated_at,
            "compaction": self._compaction,
        }

    @property
    def compaction(self) -> Compaction | None:
        """The latest compaction."""
        return self._compaction

    @property
    def user_id(self) -> str | None:
        """The owner of the session, if it has one."""
        return self._user_id

    # One method for each event

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
        keys = self._counters.setdefault(event.counter, {})  # views and heads have copies
        keys[event.key] = keys.get(event.key, 0) + event.by

    def _message_added(self, event: e.MessageAdded, position: int) -> None:
        if event.role == "assistant":
            self.add_step(event.message_id, whole_step(event, position), position)
            return
        message = Message(
            message_id=event.message_id,
            position=position,
            role=event.role,
            content=event.content,
            name=event.name,
            at=event.at,
        )
        self.add_message(message, queued=event.queued)

    def _message_imported(self, event: e.MessageImported, position: int) -> None:
        self.join_all(position)
        fold_imported(self, event, position)

    def _session_repaired(self, event: e.SessionRepaired, position: int) -> None:
        of_turn: dict[int, list[e.Correction]] = {}
        for correction in event.corrections:
            of_turn.setdefault(correction.turn, []).append(correction)
        for index, corrections in of_turn.items():
            self.add_repair(index, Repair(repair_id=event.repair_id, corrections=tuple(corrections)), position)

    def _repair_withdrawn(self, event: e.RepairWithdrawn, position: int) -> None:
        self.withdraw_repair(event.repair_id, position)

    def _compacted(self, event: e.ContextCompacted, position: int) -> None:
        # A summary never replaces what comes after the compaction, whatever the event says.
        self._compaction = Compaction(summary=event.summary, upto=min(event.upto, position), position=position)

    def _forked(self, event: e.SessionForked, position: int) -> None:
        pass  # whoever wants to know the source of the session reads its events

    def _completion_started(self, event: e.CompletionStarted, position: int) -> None:
        self.add_step(event.step_id, new_step(event, position), position)

    def _text(self, event: e.TextDelta, position: int) -> None:
        if step := self.open_step(event.step_id, position):
            step.add_text(event.text)

    def _refusal(self, event: e.RefusalDelta, position: int) -> None:
        if step := self.open_step(event.step_id, position):
            step.add_refusal(event.text)

    def _reasoning(self, event: e.ReasoningDelta, position: int) -> None:
        if step := self.open_step(event.step_id, position):
            step.add_reasoning(event)

    def _call_started(self, event: e.ToolCallStarted, position: int) -> None:
        step = self.open_step(event.step_id, position)
        if step and not step.start_call(event):
            self.add_fault("unknown_call", position, f"call {event.index} of step {event.step_id} was opened twice")

    def _call_changed(self, event: e.ToolCallNamed | e.ToolCallArgumentsDelta, position: int) -> None:
        step = self.open_step(event.step_id, position)
        if step is None:
            return
        known = step.name_call(event) if isinstance(event, e.ToolCallNamed) else step.add_arguments(event)
        if not known:
            self.add_fault("unknown_call", position, f"step {event.step_id} has no call {event.index}")

    def _part_started(self, event: e.PartStarted, position: int) -> None:
        step = self.open_step(event.step_id, position)
        if step and not step.start_part(event):
            self.add_fault("unknown_part", position, f"part {event.part} of step {event.step_id} was opened twice")

    def _part_changed(self, event: e.PartDelta | e.PartExtended, position: int) -> None:
        step = self.open_step(event.step_id, position)
        if step and not step.change_part(event):
            self.add_fault("unknown_part", position, f"step {event.step_id} has no part {event.part}")

    def _function(self, event: e.FunctionCallDelta, position: int) -> None:
        if step := self.open_step(event.step_id, position):
            step.add_function_call(event)

    def _ended(self, event: e.StepEnd, position: int) -> None:
        self.end_step(event, position)

    def _result_added(self, event: e.ToolResultAdded, position: int) -> None:
        result = ToolResult(
            call_id=event.call_id,
            index=event.index,
            status=event.status,
            content=event.content,
            position=position,
            at=event.at,
        )
        if not self.file_result(event.step_id, result, late=event.late):
            self.add_fault(
                "orphan_result", position, f"a result of the call {quoted(event.call_id)}, which no step has made"
            )

    def _call_noted(self, event: CallEvent, position: int) -> None:
        state = self.state
        late = isinstance(state, Active) and has_gone_on(state, event.step_id, event.index)
        self.note_call(event, position, late=late)

    def _usage_reported(self, event: e.UsageReported, position: int) -> None:
        entry = UsageEntry(step_id=None, position=position, model=event.model, usage=event.usage)
        self.latest(position).usage_reports.append(entry)

    def _deleted(self, event: e.SessionDeleted, position: int) -> None:
        pass  # `exists` says so; the turns stay readable for whoever audits the log

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
        e.PartStarted: _part_started,
        e.PartDelta: _part_changed,
        e.PartExtended: _part_changed,
        e.CompletionFinished: _ended,
        e.CompletionInterrupted: _ended,
        e.CompletionFailed: _ended,
        e.CompletionAbandoned: _ended,
        e.ToolResultAdded: _result_added,
        e.TurnStarted: Turns.begin_turn,
        e.TurnEnded: Turns.end_turn,
        e.ToolStarted: _call_noted,
        e.ApprovalRequested: _call_noted,
        e.ApprovalDecided: _call_noted,
        e.UsageReported: _usage_reported,
        e.MessageImported: _message_imported,
        e.SessionRepaired: _session_repaired,
        e.RepairWithdrawn: _repair_withdrawn,
        e.ContextCompacted: _compacted,
        e.SessionForked: _forked,
        e.SessionDeleted: _deleted,
    }
