"""The turns that a projection holds: all of them, or the last ones. The closed ones are pages, which are kept apart.

A turn of many steps is held as several segments (`segments.py`), and what is said of turns here holds for each of them:
one that is followed by another segment is closed. A closed turn is held as it is kept. When an event changes it, it is
thawed, and stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import ClassVar

from turnlog.projections.segments import joined, whole_turns
from turnlog.projections.turn import Fault, Message, Repair, Turn
from turnlog.projections.turn_fold import TurnFold, frozen


class HeldTurns:
    """Turns in the order of the session: all of them, or the last ones.

    A page has a number, from 0 on: that of a turn, or of a segment, among all of the session. `first_turn` is that of
    the first one that is held. `reached_back` is the position of the last event that
    changed a turn which had ended and was not the last one, `rewrote` that of the last one that changed what prompts
    have of such a turn.
    """

    cuts_turns: ClassVar[bool] = True
    """Whether long turns are held as segments."""

    def __init__(self) -> None:
        self.first_turn = 0
        self.reached_back = 0
        self.rewrote = 0
        self._turns: list[Turn | TurnFold] = []
        self._pinned: tuple[Message, ...] = ()
        self._is_cut = False  # whether a turn has several segments

    def restore(
        self, pages: Iterable[Turn], unclosed: Iterable[Turn], closed: int, pinned: tuple[Message, ...]
    ) -> None:
        """Takes the last closed turns, of which the session has `closed` in total, the turns after them, and the pinned
        messages of all closed turns."""
        self._pinned = pinned
        self._turns = list[Turn | TurnFold](pages)
        self.first_turn = closed - len(self._turns)
        first = len(self._turns)
        self._turns += unclosed
        for number in range(first, len(self._turns)):
            self._held(number)
        self._note_cuts()

    def prepend(self, pages: Sequence[Turn]) -> None:
        """Takes the closed turns before the first one that is held, as they are now."""
        self._turns[:0] = pages
        self.first_turn -= len(pages)
        self._note_cuts()

    def _note_cuts(self) -> None:
        self._is_cut = any(one.index == after.index and one.steps for one, after in pairwise(self._turns))

    @property
    def turn_count(self) -> int:
        """The number of turns in the session."""
        return self._turns[-1].index + 1 if self._turns else 0

    @property
    def page_count(self) -> int:
        """The number of turns and segments in the session."""
        return self.first_turn + len(self._turns)

    @property
    def closed_turns(self) -> int:
        """The number of closed turns and segments, at the beginning of the session, which only late results still
        change."""
        return self.first_turn + self._closed

    @property
    def _closed(self) -> int:
        for number, turn in enumerate(self._turns):
            if number == self._begun_last or (isinstance(turn, TurnFold) and turn.is_open()):
                return number
        return 0

    @property
    def _begun_last(self) -> int:
        """The number of the latest turn among those that are held, but for those that are in the queue, or were stopped
        there. It may be gone on with: it is not closed."""
        numbers = range(len(self._turns) - 1, -1, -1)
        return next((number for number in numbers if not self._turns[number].is_behind), len(self._turns) - 1)

    def _close_from(self, number: int, position: int) -> None:
        """Notes that the event at `position` has closed the turns from this number on: a later one began."""
        for closed in range(max(0, number), self._begun_last):
            self._touch(self._held(closed), position)

    @property
    def pinned(self) -> tuple[Message, ...]:
        """The system and developer messages of the turns before the first one that is held."""
        held = {message.position for turn in self._turns for message in turn.messages}
        return tuple(message for message in self._pinned if message.position not in held)

    def pinned_in_pages(self) -> tuple[Message, ...]:
        """The system and developer messages of all closed turns, also of those that are not held."""
        known, end = {message.position for message in self._pinned}, self._closed
        fresh = (m for turn in self._turns[:end] for m in turn.messages if m.is_pinned and m.position not in known)
        # A turn that was closed may be gone on with.
        reopened = {message.position for turn in self._turns[end:] for message in turn.messages}
        return (*(message for message in self._pinned if message.position not in reopened), *fresh)

    # The turns as they are read

    def raw_turns(self) -> tuple[Turn, ...]:
        """The turns that are held, as they were recorded: no repair is applied, and `faults` is empty. Of the first one
        the last segments may be all that is held."""
        return tuple(whole_turns(map(frozen, self._turns)))

    def holds_whole(self, index: int) -> bool:
        """Whether all segments of this turn are certain to be held."""
        return self.first_turn == 0 or self._turns[0].index < index

    def unclosed_turns(self) -> tuple[Turn, ...]:
        """The turns after the closed ones."""
        return tuple(map(frozen, self._turns[self._closed :]))

    def pages(self, after: int = 0) -> tuple[Turn, ...]:
        """The closed turns that an event after the position `after` has changed, for keeping."""
        return tuple(page for _, page in self.numbered_pages(after))

    def numbered_pages(self, after: int = 0) -> list[tuple[int, Turn]]:
        """The same with their numbers."""
        pages = enumerate(self._turns[: self._closed], self.first_turn)
        return [(number, frozen(turn)) for number, turn in pages if turn.position > after]

    def pages_from(self, page: int) -> tuple[Turn, ...]:
        """The closed turns from the page of this number on, for keeping. They must be held."""
        return tuple(frozen(turn) for turn in self._turns[page - self.first_turn : self._closed])

    # For the events that change them

    def latest(self, position: int) -> TurnFold:
        """The latest turn, which the event at `position` changes."""
        if not self._turns:
            return self.append(position)
        return self.thawed(self.first_turn + len(self._turns) - 1, position)

    def append(self, position: int, *, is_queued: bool = False) -> TurnFold:
        """A new turn, which begins with the event at `position`."""
        page, latest = self.first_turn + len(self._turns), self._begun_last
        turn = TurnFold(Turn(index=self.turn_count, position=position, is_queued=is_queued), page)
        self._turns.append(turn)
        self._touch(turn, position)
        self._close_from(latest, position)
        return turn

    def begin_segment(self, turn: TurnFold, position: int) -> TurnFold:
        """Goes on with the turn in another segment, which begins with the event at `position`."""
        segment = turn.next_segment(position)
        number = segment.page - self.first_turn
        for later in self._turns[number:]:
            assert isinstance(later, TurnFold)  # noqa: S101 what is behind the turn that steps come for is not closed
            later.page += 1
        self._turns.insert(number, segment)
        self._is_cut = True
        self._touch(turn, position)
        self._touch(segment, position)
        return segment

    def join_segments(self, index: int, position: int) -> None:
        """Makes one of the segments of the turn, which must all be held, because the event at `position` may change
        what they have to do with each other. The last one then has all of it. The others stay, and are empty, so that
        pages keep their numbers."""
        numbers = [number for number, turn in enumerate(self._turns) if turn.index == index]
        if len(numbers) < 2:
            return
        whole = joined([frozen(self._turns[number]) for number in numbers])
        for number in numbers:
            page, is_continued = self.first_turn + number, number != numbers[-1]
            turn = Turn(index=index, position=position) if is_continued else whole
            self._turns[number] = fold = TurnFold(turn, page, is_continued=is_continued)
            self._touch(fold, position)
        self.reached_back = self.rewrote = position

    def join_all(self, position: int) -> None:
        """Makes one of the segments of every turn."""
        if self._is_cut:
            self._is_cut = False
            for index in {turn.index for turn in self._turns}:
                self.join_segments(index, position)

    def thawed(self, page: int, position: int, *, rewrites: bool = True) -> TurnFold:
        """The turn with this page number, which the event at `position` changes. `rewrites`: prompts have it otherwise
        then."""
        number = page - self.first_turn
        turn = self._held(number)
        if number < len(self._turns) - 1 and not turn.is_open():
            self.reached_back = position
            self.rewrote = position if rewrites else self.rewrote
        self._touch(turn, position)
        return turn

    def _held(self, number: int) -> TurnFold:
        """The turn of this number among those that are held, thawed."""
        turn = self._turns[number]
        if isinstance(turn, Turn):
            after = self._turns[number + 1 :][:1]
            is_continued = any(other.index == turn.index for other in after)
            turn = self._turns[number] = TurnFold(turn, self.first_turn + number, is_continued=is_continued)
        return turn

    def _touch(self, turn: TurnFold, position: int) -> None:
        """Notes that the event at `position` changes the turn."""
        turn.position = position

    def add_fault(self, kind: str, position: int, message: str, index: int | None = None) -> None:
        """Notes in the latest turn what is wrong with the event at `position`."""
        fault = Fault(kind=kind, position=position, index=index, message=message)
        self.latest(position).flaws.append(fault)

    def add_repair(self, index: int, repair: Repair, position: int) -> None:
        """Applies a repair to a turn, if there is such a turn."""
        self.join_segments(index, position)
        pages = [page for page, turn in enumerate(self._turns, self.first_turn) if turn.index == index]
        if pages:
            turn = self.thawed(pages[-1], position)
            turn.set_repairs((*turn.repairs, repair))

    def withdraw_repair(self, repair_id: str, position: int) -> None:
        """Withdraws a repair from all turns."""
        for page, turn in enumerate(self._turns, self.first_turn):
            if any(repair.repair_id == repair_id for repair in turn.repairs):
                thawed = self.thawed(page, position)
                thawed.set_repairs(repair for repair in thawed.repairs if repair.repair_id != repair_id)
