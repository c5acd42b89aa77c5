"""Whose turn it is: the turn that has an owner, those that wait in the queue, and which turn an event belongs to."""

from __future__ import annotations

from collections.abc import Iterable

from turnlog.domain.events import TurnEnded, TurnStarted
from turnlog.projections.held_turns import HeldTurns
from turnlog.projections.repair import corrected, mended
from turnlog.projections.turn import Message, Turn
from turnlog.projections.turn_fold import TurnFold, frozen


class OwnedTurns(HeldTurns):
    """Turns of which one may be in hand. Those that are queued have no steps."""

    def __init__(self) -> None:
        super().__init__()
        self._in_hand: int | None = None
        self._queue: dict[str, int] = {}  # the page of each queued turn, by the id of the message that it answers

    def restore(
        self, pages: Iterable[Turn], unclosed: Iterable[Turn], closed: int, pinned: tuple[Message, ...]
    ) -> None:
        """See HeldTurns. What is in hand or queued is not closed."""
        super().restore(pages, unclosed, closed, pinned)
        for turn in self._turns[closed - self.first_turn :]:
            assert isinstance(turn, TurnFold)  # noqa: S101 it is not closed
            if turn.is_in_hand:
                self._in_hand = turn.page
            elif turn.is_queued:
                self._queue[turn.messages[0].message_id] = turn.page

    def begin_segment(self, turn: TurnFold, position: int) -> TurnFold:
        """See HeldTurns."""
        segment = super().begin_segment(turn, position)
        if self._in_hand == turn.page:
            self._in_hand = segment.page
        self._queue = {key: page + (page >= segment.page) for key, page in self._queue.items()}
        return segment

    @property
    def in_hand(self) -> int | None:
        """The page of the turn that has an owner now."""
        return self._in_hand

    @property
    def joined_turn(self) -> str | None:
        """The id of the turn to which what comes now goes (see `domain.turns`). It is the latest that has begun."""
        return None

    @property
    def waiting_turn(self) -> str | None:
        """The id of the turn with a call that waits for somebody outside. It is the latest that has had an owner."""
        return None

    def _has_earlier_segment(self, turn: TurnFold) -> bool:
        number = turn.page - self.first_turn
        return self._turns[number - 1].index == turn.index if number else self.first_turn > 0

    @property
    def has_turn_ended(self) -> bool:
        """Whether the latest turn that has begun, as the view has it, has ended (see Turn), and none is queued."""
        if not self._turns or self._in_hand is not None or self._queue:
            return False
        turn = self._turns[self._begun_last]
        if not isinstance(turn, TurnFold):
            return self._read(turn).has_ended
        waits = turn.turn_id is not None and turn.turn_id == self.waiting_turn and self._has_earlier_segment(turn)
        known = turn.has_ended(has_news=self._has_news(turn), waits=waits)
        return self._read(frozen(turn)).has_ended if known is None else known

    def turns(self) -> tuple[Turn, ...]:
        """The turns that are held, with repairs applied, and as they are to be gone on with."""
        return self.read(self.raw_turns())

    def read(self, turns: Iterable[Turn]) -> tuple[Turn, ...]:
        """Turns of the session as they are read, which need not be held."""
        return tuple(map(self._read, turns))

    def sent_segments(self, page: int | None = None) -> tuple[Turn, ...]:
        """What is held from this page on, with repairs applied, and each segment of a long turn by itself. Faults are
        not looked for: no prompt needs them."""
        first = 0 if page is None else page - self.first_turn
        return tuple(mended(frozen(turn)) for turn in self._turns[first:])

    def _read(self, turn: Turn) -> Turn:
        read = corrected(turn)
        return read.model_copy(update={"has_news": True}) if self._has_news(turn) else read

    def _has_news(self, turn: Turn | TurnFold) -> bool:
        is_over = bool(turn.runs) and turn.runs[-1].status in ("finished", "waiting")
        return is_over and turn.turn_id == self.joined_turn

    def current(self, position: int) -> TurnFold:
        """The turn that what comes at `position` is for: the one in hand, or that is to be gone on with, or else the
        last in the queue, or else the latest that has begun."""
        if self._in_hand is not None:
            return self.thawed(self._in_hand, position)
        if self._queue and self.joined_turn is None:
            return self.thawed(next(reversed(self._queue.values())), position)
        return self.thawed(self.first_turn + self._begun_last, position) if self._turns else self.append(position)

    def add_message(self, message: Message, *, queued: bool = False) -> None:
        """Adds a message that is not a step's. A user message begins a turn after one that has steps, or has had an
        owner, unless that is to be gone on with; a queued one always does."""
        turn, is_users = self.current(message.position), message.role == "user"
        if queued and is_users and message.message_id not in self._queue:
            turn = self.append(message.position, is_queued=True)
            self._queue[message.message_id] = turn.page
        elif is_users and self.joined_turn is None and (turn.steps or turn.runs):
            turn = self.append(message.position)
        turn.messages.append(message)

    def begin_turn(self, event: TurnStarted, position: int) -> None:
        """Somebody takes a turn in hand. One that is in somebody's hands was abandoned."""
        if self._in_hand is not None:
            self.thawed(self._in_hand, position).lose_run(position, event.at)
        turn = self._found(event.turn_id, position)
        if turn is None:
            latest = self.latest(position)
            turn = latest if not latest.is_queued and latest.freeze().goes_on else self.append(position)
        begun_last = self._begun_last
        self._queue.pop(event.turn_id, None)
        turn.begin_run(event, position)
        self._close_from(begun_last, position)
        self._in_hand = turn.page

    def end_turn(self, event: TurnEnded, position: int) -> None:
        """A run is over; or one that was over has ended otherwise, or a queued turn before anybody has begun it."""
        turn = self._found(event.turn_id, position)
        if turn is None or not (turn.is_queued or (turn.runs and turn.runs[-1].run == event.run)):
            text = f"an end of turn {event.turn_id}, which is not in the hands of run {event.run}"
            self.add_fault("unknown_turn", position, text)
            return
        if turn.page == self._in_hand:
            self._in_hand = None
        self._queue.pop(event.turn_id, None)
        turn.end_run(event, position)

    def _found(self, turn_id: str, position: int) -> TurnFold | None:
        """The turn of this id, which the event at `position` changes: the one in hand, one in the queue, or the latest
        that has begun."""
        index = self._queue.get(turn_id)
        if index is None:
            index = self._begun(turn_id)
        return None if index is None else self.thawed(index, position)

    def _begun(self, turn_id: str) -> int | None:
        if self._in_hand is not None and _answers(self._turns[self._in_hand - self.first_turn], turn_id):
            return self._in_hand
        for number in range(len(self._turns) - 1, -1, -1):
            turn = self._turns[number]
            if not turn.is_queued and _answers(turn, turn_id):
                return self._last_page_of(turn.index, number)
            if turn.steps and not (number and self._turns[number - 1].index == turn.index):
                break
        return None

    def _last_page_of(self, index: int, number: int) -> int:
        while self._turns[number + 1 :][:1] and self._turns[number + 1].index == index:
            number += 1
        return self.first_turn + number

    def knows_turn(self, turn_id: str) -> bool:
        """Whether the turns that are held tell which turn this is, or that there is none."""
        is_found = turn_id in self._queue or self._begun(turn_id) is not None
        return is_found or any(turn.steps for turn in self._turns if self.holds_whole(turn.index))

    def join_queued(self, position: int) -> None:
        """Makes one turn of those that are queued, and that were stopped in the queue: one step answers all of them."""
        if not self._queue:
            return
        latest, number = self._begun_last, len(self._turns)
        first = next(iter(self._queue.values())) - self.first_turn
        while number > first and not self._turns[number - 1].steps:
            number -= 1
        for index in self._queue.values():
            self._held(index - self.first_turn).is_queued = False
        self._queue.clear()
        joined = [self._held(other) for other in range(number, len(self._turns))]
        for other in joined[1:]:
            joined[0].absorb(other)
        del self._turns[number + 1 :]
        self._close_from(latest, position)


def _answers(turn: Turn | TurnFold, turn_id: str) -> bool:
    return turn.turn_id == turn_id or any(message.message_id == turn_id for message in turn.messages)
