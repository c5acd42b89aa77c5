"""A prompt that is kept up to date while a session is folded: after each event only what has changed is made again.

A prompt is a fold from left to right, over what happened, over the entries that are made of it, and over the messages
that those are. So each stage goes back to where it was before the first thing that is another now, and on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from turnlog.projections.projector import Projector
from turnlog.projections.prompt import APIS, Api
from turnlog.projections.prompt.anthropic import last_spoken
from turnlog.projections.prompt.assembly import Assembly, Mark, Placed, end_of, sent, with_summary
from turnlog.projections.prompt.entries import PromptStep, Rendered
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.turn import Compaction, Step


class _RenderedMark(NamedTuple):
    """Where the messages were. Of those that there were only the one at `place`, the last that is not a system
    message, may be another since."""

    length: int
    place: int | None
    spoken: Rendered | None


class RewindablePrompt:
    """The prompt for one API after each event that `projector`, which is new, folds.

    `messages` are in the order of the log, also where the API has system messages apart. Of those that were there when
    the caller set `same` to their number, the first `same` are still the same.
    """

    def __init__(self, projector: Projector, api: Api) -> None:
        self._projector = projector
        self._render = APIS[api].render
        self._assembly = Assembly(APIS[api].dialect, DEFAULT_POLICY, frozenset())
        self._compaction: Compaction | None = None
        self._summed_up = 0  # turns that were there when the context was compacted
        self._placed: list[Placed] = []
        self._begins: list[int] = []  # where in it each turn begins
        self._marks: list[Mark] = []  # before each that is assembled
        self._rendered_marks: list[_RenderedMark] = []  # before each entry
        self._stable = 0  # entries whose messages are up to date
        self.messages: list[Rendered] = []
        self.same = 0

    def look(self) -> bool:
        """Looks at what has changed. Returns whether anything has."""
        changed = self._projector.take_changed()
        if self._compaction is not self._projector.compaction:
            self._compaction, self._summed_up = self._projector.compaction, self._projector.turn_count
            changed = 0
        if changed is None:
            return False
        # The summary stands between what is pinned of these turns and the rest of them.
        self._place(0 if changed < self._summed_up else changed)
        return True

    def is_waiting(self) -> bool:
        """Whether it plainly ends with a call whose result is still to come: seen without making it."""
        end = end_of(self._placed)
        last = self._placed[end - 1].entry if end else None
        return isinstance(last, Step) and last.status == "finished" and any(c.name for c in last.unanswered_calls())

    def update(self) -> bool:
        """Makes the messages from where they are others now. Returns whether it ends with a call whose result is still
        to come."""
        self._assemble()
        self._render_entries()
        last = self._assembly.entries[-1] if self._assembly.entries else None
        # A call that has a result has the position of that, too.
        return isinstance(last, PromptStep) and any(len(call.positions) == 1 for call in last.calls)

    def _place(self, first: int) -> None:
        begin = self._begins[first] if first < len(self._begins) else len(self._placed)
        if first == 0:
            begin = 0  # a summary may stand in front of the first turn
        del self._begins[first:]
        placed: list[Placed] = []
        for turn in self._projector.mended_turns(first):
            self._begins.append(begin + len(placed))
            placed += sent([turn], self._compaction)
        if first == 0 and self._compaction is not None:
            placed = with_summary(placed, self._compaction)
            self._begins = [place + 1 for place in self._begins]
        other = begin + _first_other(self._placed[begin:], placed)
        self._placed[other:] = placed[other - begin :]
        self._go_back(other)

    def _go_back(self, place: int) -> None:
        """To where the assembly was before it took what is placed there."""
        if place >= len(self._marks):
            return
        mark = self._marks[place]
        self._stable = min(self._stable, mark.entries)
        self._changed_since(mark)
        self._assembly.go_back(mark)
        del self._marks[place:]

    def _changed_since(self, mark: Mark) -> None:
        if mark.entries and self._assembly.entries[mark.entries - 1] is not mark.last:
            self._stable = min(self._stable, mark.entries - 1)

    def _assemble(self) -> None:
        end = end_of(self._placed)
        self._go_back(end)
        for placed in self._placed[len(self._marks) : end]:
            mark = self._assembly.mark()
            self._marks.append(mark)
            self._assembly.add(placed)
            self._changed_since(mark)

    def _render_entries(self) -> None:
        if self._stable < len(self._rendered_marks):
            mark = self._rendered_marks[self._stable]
            self.same = min(self.same, mark.length)
            self._other_since(mark)
            del self.messages[mark.length :]
            if mark.place is not None and mark.spoken is not None:
                self.messages[mark.place] = mark.spoken
            del self._rendered_marks[self._stable :]
        for entry in self._assembly.entries[self._stable :]:
            place = last_spoken(self.messages)
            mark = _RenderedMark(len(self.messages), place, None if place is None else self.messages[place])
            self._rendered_marks.append(mark)
            self._render([entry], self.messages)
            self._other_since(mark)
        self._stable = len(self._assembly.entries)

    def _other_since(self, mark: _RenderedMark) -> None:
        if mark.place is not None and self.messages[mark.place] is not mark.spoken:
            self.same = min(self.same, mark.place)


def _first_other(before: Sequence[Placed], now: Sequence[Placed]) -> int:
    """The place of the first that is not the very same, for what has changed is another object."""
    pairs = enumerate(zip(before, now, strict=False))
    others = (place for place, (one, other) in pairs if one.entry is not other.entry or one.turn != other.turn)
    return next(others, min(len(before), len(now)))
