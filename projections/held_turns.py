"""The turns that a projection holds: all of them, or the last ones. The closed ones are pages, which are kept apart.

A closed turn is held as it is in the view. When an event changes it, it is thawed, and stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from turnlog.projections.turn import Fault, Message, Repair, Turn
from turnlog.projections.turn_fold import TurnFold, frozen


class HeldTurns:
    """Turns in the order of the session: all of them, or the last ones.

    `first_turn` is the index of the first turn that is held. `reached_back` is the position of the last event that
    changed a turn which had ended and was not the last one, `rewrote` that of the last one that changed what prompts
    have of such a turn.
    """

    def __init__(self) -> None:
        self.first_turn = 0
        self.reached_back = 0
        self.rewrote = 0
        self._turns: list[Turn | TurnFold] = []
        self._pinned: tuple[Message, ...] = ()

    def restore(
        self, pages: Iterable[Turn], unclosed: Iterable[Turn], closed: int, pinned: tuple[Message, ...]
    ) -> None:
        """Takes the last closed turns, of which the session has `closed` in total, the turns after them, and the pinned
        messages of all closed turns."""
        self._pinned = pinned
        self._turns = list[Turn | TurnFold](pages)
        self.first_turn = closed - len(self._turns)
        self._turns += [TurnFold(turn) for turn in unclosed]

    def prepend(self, pages: Sequence[Turn]) -> None:
        """Takes the closed turns before the first one that is held, as they are now."""
        self._turns[:0] = pages
        self.first_turn -= len(pages)

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

    # For the events that change them

    def latest(self, position: int) -> TurnFold:
        """The latest turn, which the event at `position` changes."""
        if not self._turns:
            return self.append(position)
        return self.thawed(self.first_turn + len(self._turns) - 1, position)

    def append(self, position: int, *, is_queued: bool = False) -> TurnFold:
        """A new turn, which begins with the event at `position`."""
        latest, turn = self._begun_last, TurnFold(Turn(index=self.turn_count, position=position, is_queued=is_queued))
        self._turns.append(turn)
        self._touch(turn, position)
        self._close_from(latest, position)
        return turn

    def thawed(self, index: int, position: int, *, rewrites: bool = True) -> TurnFold:
        """The turn of this index, which the event at `position` changes. `rewrites`: prompts have it otherwise then."""
        number = index - self.first_turn
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
            turn = self._turns[number] = TurnFold(turn)
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
        if self.first_turn <= index < self.turn_count:
            turn = self.thawed(index, position)
            turn.set_repairs((*turn.repairs, repair))

    def withdraw_repair(self, repair_id: str, position: int) -> None:
        """Withdraws a repair from all turns."""
        for index, turn in enumerate(self._turns, self.first_turn):
            if any(repair.repair_id == repair_id for repair in turn.repairs):
                thawed = self.thawed(index, position)
                thawed.set_repairs(repair for repair in thawed.repairs if repair.repair_id != repair_id)
