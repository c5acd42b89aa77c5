"""A prompt that is kept up to date while a session is folded: after an event, only what it changed is made again.

A prompt is made in three stages, each of which reads the outcome of the one before from left to right: the selection,
the entries that are assembled from it, and the messages that the entries are rendered as. Each stage can go back to
where it was before the first thing that is different now, and goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from turnlog.domain.events import FunctionCall
from turnlog.domain.recorded import RecordedEvent
from turnlog.projections.ended import EndedFold
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, DialectName, how_to_make
from turnlog.projections.prompt.assembly import Assembly
from turnlog.projections.prompt.entries import PromptEntry, PromptStep, Rendered, last_spoken
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.prompt.selection import Selected, select, sent_length, with_summary
from turnlog.projections.repair import mended
from turnlog.projections.turn import Compaction, Step, Turn
from turnlog.projections.turn_fold import TurnFold, frozen


class RewindablePrompt:
    """The prompt of a session for one API, after each event.

    `messages` are in the order of the log, also where the API has system messages apart. Set `unchanged` to the number
    of messages; after an update it says how many of those, from the first on, are still the same.
    """

    def __init__(self, session_id: UUID, api: Api, dialect: DialectName | None = None) -> None:
        self._projector = _ChangeTracker(session_id)
        rules, self._render, _ = how_to_make(api, DEFAULT_POLICY, dialect)
        self._assembly = _RewindableAssembly(rules, DEFAULT_POLICY, frozenset())
        self._compaction: Compaction | None = None
        self._compacted_turns = 0  # how many there were when the context was compacted
        self._selected: list[Selected] = []
        self._turn_starts: list[int] = []  # the index in it at which each turn begins
        self._assembly_marks: list[_AssemblyMark] = []  # before each selected one that is assembled
        self._message_marks: list[_MessageMark] = []  # before each entry that is rendered
        self._rendered = 0  # entries whose messages are up to date
        self.messages: list[Rendered] = []
        self.unchanged = 0

    def apply(self, recorded: RecordedEvent) -> None:
        """Folds the next event in. The messages stay as they are until `update`."""
        self._projector.apply(recorded)

    def clearly_waits(self) -> bool:
        """Whether the prompt would end with a call without a result, as far as that shows without selecting again: the
        results of a response may be thousands, and each would be a reason to."""
        return self._projector.clearly_waits(self._projector.compaction)

    def is_at_end(self, step_id: str) -> bool:
        """Whether the step is open, and the last thing in the session."""
        return self._projector.is_at_end(step_id)

    def select(self) -> bool:
        """Selects again what is sent of the turns that have changed. Returns whether any has."""
        changed = self._projector.take_changed()
        if self._compaction is not self._projector.compaction:
            self._compaction, self._compacted_turns = self._projector.compaction, self._projector.turn_count
            changed = 0
        if changed is None:
            return False
        # The summary is between what is pinned of the compacted turns and the rest of them.
        self._select_from(0 if changed < self._compacted_turns else changed)
        return True

    def is_waiting(self) -> bool:
        """Whether the selection ends with a call that clearly has no result yet: known without making the prompt."""
        length = sent_length(self._selected)
        last = self._selected[length - 1].entry if length else None
        return isinstance(last, Step) and last.status == "finished" and any(c.name for c in last.unanswered_calls())

    def update(self) -> bool:
        """Makes the messages again that are different now. Returns whether they end with a call without a result."""
        self._assemble()
        self._render_entries()
        last = self._assembly.entries[-1] if self._assembly.entries else None
        # An answered call has the position of its result, too.
        return isinstance(last, PromptStep) and any(len(call.positions) == 1 for call in last.calls)

    def _select_from(self, turn: int) -> None:
        start = self._turn_starts[turn] if turn < len(self._turn_starts) else len(self._selected)
        if turn == 0:
            start = 0  # a summary may come before the first turn
        del self._turn_starts[turn:]
        selected: list[Selected] = []
        in_hand = self._projector.in_hand
        for changed in self._projector.mended_turns(turn):
            self._turn_starts.append(start + len(selected))
            if in_hand is None or changed.index <= in_hand:
                selected += select([changed], self._compaction)
        if turn == 0 and self._compaction is not None:
            selected = with_summary(selected, self._compaction)
            self._turn_starts = [index + 1 for index in self._turn_starts]
        same = _same_length(self._selected[start:], selected)
        self._selected[start + same :] = selected[same:]
        self._rewind_assembly(start + same)

    def _rewind_assembly(self, selected: int) -> None:
        """Goes back to before the selected one of this index was assembled."""
        if selected >= len(self._assembly_marks):
            return
        mark = self._assembly_marks[selected]
        self._rendered = min(self._rendered, mark.entries)
        self._note_joined_entry(mark)
        self._assembly.go_back(mark)
        del self._assembly_marks[selected:]

    def _note_joined_entry(self, mark: _AssemblyMark) -> None:
        if mark.entries and self._assembly.entries[mark.entries - 1] is not mark.last:
            self._rendered = min(self._rendered, mark.entries - 1)

    def _assemble(self) -> None:
        length = sent_length(self._selected)
        self._rewind_assembly(length)
        for selected in self._selected[len(self._assembly_marks) : length]:
            mark = self._assembly.mark()
            self._assembly_marks.append(mark)
            self._assembly.add(selected)
            self._assembly.settled()
            self._note_joined_entry(mark)

    def _render_entries(self) -> None:
        if self._rendered < len(self._message_marks):
            self._rewind_messages(self._message_marks[self._rendered])
            del self._message_marks[self._rendered :]
        for entry in self._assembly.entries[self._rendered :]:
            last = self._replaceable()
            mark = _MessageMark(len(self.messages), last, None if last is None else self.messages[last])
            self._message_marks.append(mark)
            self._render([entry], self.messages)
            self._note_joined_message(mark)
        self._rendered = len(self._assembly.entries)

    def _replaceable(self) -> int | None:
        """The index of the last message that is not a system message, of which there may be many; of the last one if
        all of them are."""
        before = self._message_marks[-1] if self._message_marks else _MessageMark(0, None, None)
        found = last_spoken(self.messages[before.length :])
        if found is not None:
            return before.length + found
        was_spoken = before.message is not None and before.message.message.get("role") != "system"
        return before.last if was_spoken else len(self.messages) - 1 if self.messages else None

    def _rewind_messages(self, mark: _MessageMark) -> None:
        self.unchanged = min(self.unchanged, mark.length)
        self._note_joined_message(mark)
        del self.messages[mark.length :]
        if mark.last is not None and mark.message is not None:
            self.messages[mark.last] = mark.message

    def _note_joined_message(self, mark: _MessageMark) -> None:
        if mark.last is not None and self.messages[mark.last] is not mark.message:
            self.unchanged = min(self.unchanged, mark.last)


def _same_length(before: Sequence[Selected], now: Sequence[Selected]) -> int:
    """How many of them, from the first on, are the very same objects. What has changed is another object."""
    pairs = enumerate(zip(before, now, strict=False))
    others = (index for index, (one, other) in pairs if one.entry is not other.entry or one.turn != other.turn)
    return next(others, min(len(before), len(now)))


class _ChangeTracker(Projector):
    """A projector that says which turns have changed."""

    cuts_turns = False

    def __init__(self, session_id: UUID) -> None:
        super().__init__(session_id)
        self._changed_from: int | None = None

    def take_changed(self) -> int | None:
        """The index of the first turn that has changed since the last call; None if none has."""
        changed, self._changed_from = self._changed_from, None
        return changed

    def is_at_end(self, step_id: str) -> bool:
        """Whether the step is open, and the last thing in the session."""
        turn = self._last_sent()
        if not isinstance(turn, TurnFold) or next(reversed(turn.steps), None) != step_id or step_id not in self._open:
            return False
        step, _ = self._open[step_id]
        return _last_message(turn) < step.base.position

    def clearly_waits(self, compaction: Compaction | None) -> bool:
        """Whether the last thing in the session is a finished step with a call that has a name and no result."""
        turn = self._last_sent()
        if not isinstance(turn, TurnFold) or turn.repairs:
            return False
        last = next(reversed(turn.steps.values()), None)
        if not isinstance(last, EndedFold) or last.step.status != "finished" or last.step.origin is not None:
            return False
        after = max(_last_message(turn), compaction.upto if compaction else 0)
        return last.step.position > after and last.waits

    def _last_sent(self) -> Turn | TurnFold | None:
        """The last turn of a prompt: what is queued has to wait for the turn in hand."""
        return None if not self._turns else self._turns[-1 if self.in_hand is None else self.in_hand]

    def mended_turns(self, index: int) -> tuple[Turn, ...]:
        """The turns from this index on, with repairs applied. Faults are not looked for: no prompt needs them."""
        return tuple(mended(frozen(turn)) for turn in self._turns[index:])

    def _touch(self, turn: TurnFold, position: int) -> None:
        super()._touch(turn, position)
        if self._changed_from is None or turn.index < self._changed_from:
            self._changed_from = turn.index


def _last_message(turn: TurnFold) -> int:
    messages, results = turn.messages, turn.late_results
    return max(messages[-1].position if messages else 0, results[-1].position if results else 0)


class _AssemblyMark(NamedTuple):
    """A state of an assembly. Of the entries that it had, only the last one may be replaced afterwards."""

    entries: int
    last: PromptEntry | None
    taken: int
    called: FunctionCall | None


class _RewindableAssembly(Assembly):
    """An assembly that can go back to an earlier state."""

    def mark(self) -> _AssemblyMark:
        """The state as it is now."""
        last = self.settled()[-1] if self.entries else None
        return _AssemblyMark(len(self.entries), last, len(self._taken), self._called)

    def go_back(self, mark: _AssemblyMark) -> None:
        """Forgets everything that was added since the mark."""
        del self.settled()[mark.entries :]
        if mark.last is not None:
            self.entries[-1] = mark.last
        self._function_said = mark.last.function_call if isinstance(mark.last, PromptStep) else None
        while len(self._taken) > mark.taken:
            self._taken.popitem()
        self._called = mark.called


class _MessageMark(NamedTuple):
    """A state of the messages. Of those that were there, only the last one that is not a system message may be replaced
    afterwards, or the last one where all are: `message`, at the index `last`."""

    length: int
    last: int | None
    message: Rendered | None
