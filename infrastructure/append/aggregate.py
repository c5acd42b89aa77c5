"""The aggregate: one session in this process, on which commands are decided one after the other.

A command is decided on the state as it will be once all that is under way is stored, and is handed to the group commit
at once, so that the handlers of one session never wait for each other. When another process takes a position first, or
an answer of the store is lost, the aggregate reads what happened and decides again, in order, all that was not stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from random import random
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.commands import AddToolResult, Command
from turnlog.domain.decide import decide
from turnlog.domain.errors import AppendConflictError, StoreError, TurnlogError
from turnlog.domain.evolve import answer_key, awaited_call, evolve
from turnlog.domain.state import Active, SessionState, initial_state
from turnlog.infrastructure.append.state_keeper import StateKeeper
from turnlog.infrastructure.read.decision_states import DecisionStates
from turnlog.infrastructure.store.accepted import AcceptedResults, with_taken
from turnlog.infrastructure.store.appends import UNDECIDED, Append, Lane, OvertakenError
from turnlog.infrastructure.store.encoding import AppendEncoder, Decided
from turnlog.infrastructure.store.text_lane import encode_text
from turnlog.infrastructure.tasks import spawned
from turnlog.projections.stored_state import StoredState

if TYPE_CHECKING:
    from turnlog.infrastructure.store.group_commit import GroupCommit

CONFLICT_SECONDS = 30.0
"""How long an append tries for a position before it is given up. It is a time and not a number of attempts, because the
writer that has just won knows the next position first, and wins again for as long as its caller goes on without a
pause."""
LONGEST_PAUSE = 0.1
"""Seconds between two tries for a position, at most."""


class PendingAppend(Append):
    """Commands that are decided together and stored together. It is one attempt; the next attempt is another object,
    because the group commit may still hold this one. `taken` are keys that the store has refused an earlier attempt
    for, because what they stand for was accepted before."""

    __slots__ = ("commands", "conflict_since", "done", "state", "stored", "taken", "version")

    owner: Aggregate

    def __init__(
        self,
        owner: Aggregate,
        commands: tuple[Command, ...],
        done: asyncio.Future[int],
        taken: set[bytes] | None = None,
        conflict_since: float | None = None,
    ) -> None:
        # Not through `super`, and only what is not set where it is decided: one is made for every delta.
        self.owner = owner
        self.lane = UNDECIDED
        self.id_bytes = owner.id_bytes
        self.is_patient = False
        self.count = self.size = 0
        self.session = None
        self.keys = ()
        self.commands = commands
        self.done = done
        self.taken = taken
        self.conflict_since = conflict_since
        self.stored = False
        self.state: SessionState | None = None
        self.version = 0

    def again(self) -> PendingAppend:
        """The same, undecided."""
        return PendingAppend(self.owner, self.commands, self.done, self.taken, self.conflict_since)


class Aggregate:
    """`state` and `version` include what is still on its way to the store. `stored_version` and `stored_commit_id` are
    those of the last event that is known to be stored."""

    def __init__(
        self, session_id: UUID, accepted: AcceptedResults, group_commit: GroupCommit, states: DecisionStates
    ) -> None:
        self.session_id = session_id
        self.id_bytes = session_id.bytes
        self.state: SessionState = initial_state(session_id)
        self.version = 0
        self._accepted = accepted
        self._group_commit = group_commit
        self._states = states
        self._encoder = AppendEncoder(session_id)
        self._keeper = StateKeeper(states)
        self._is_loaded = False
        # What is known to be stored, in single fields: they are set for every delta.
        self._stored_state: SessionState = self.state
        self.stored_version = 0
        self.stored_commit_id = 0
        self._lane: Lane | None = None
        self._pending: deque[PendingAppend] = deque()
        self._catching_up: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def stored_at(self) -> float:
        """When something that was decided here was last stored, by the clock of the loop."""
        return -inf if self._lane is None else self._lane.stored_at

    async def execute(self, *commands: Command) -> int:
        """Decides the commands as one append and waits until it is stored. Returns the number of its events: 0 if the
        commands had been carried out before. Raises what `decide` raises, and StoreError."""
        await self.ready()
        taken = set[bytes]()
        try:
            count = await self._execute(commands, taken)
        except StoreError:
            raise
        except TurnlogError:
            count = 0
        if count:
            return count
        # Nothing to do, or refused: that may be only because others have appended meanwhile.
        await self.refresh()
        return await self._execute(commands, taken)

    async def _execute(self, commands: Sequence[Command], taken: set[bytes]) -> int:
        recalled = await self._recalled(commands)
        await self._group_commit.let_others_go_on()
        if self._group_commit.is_full:
            await self._group_commit.room()
        return await self.submit(*recalled, taken=taken)

    async def refresh(self) -> None:
        """Catches up with what other processes have appended. Raises StoreError."""
        if self._catching_up is not None:
            # It may have read before the events that the caller wants to know of were stored.
            await asyncio.wait([self._catching_up])
        if self._pending:
            # Once these are stored it is proved that nothing had come in between.
            await self.submit()
        else:
            self._lane = None
            await self.ready()

    async def ready(self) -> None:
        """Loads the state, unless it is known. Raises StoreError."""
        if self._lane is None:
            await self.submit()

    def begin_empty(self) -> None:
        """Skips the loading, for a session whose id was made a moment ago."""
        self._begin(StoredState(self.state, 0, 0))

    def begin_at(self, stored: StoredState) -> None:
        """Skips the loading where the state was folded a moment ago. If it is old, the store will say so."""
        if self._lane is None and not self._pending:
            self._begin(stored)

    def _begin(self, stored: StoredState) -> Lane:
        self._is_loaded, self._lane = True, Lane()
        self.state, self.version = stored.state, stored.version
        self._stored_state, self.stored_version, self.stored_commit_id, kept = stored
        self._keeper.begin(kept)
        return self._lane

    def submit(self, *commands: Command, taken: set[bytes] | None = None) -> asyncio.Future[int]:
        """Decides the commands at once, without waiting. The future is done when the append is stored, and holds what
        `execute` returns or raises.

        Without commands it is done when all appends before it are stored or have failed. Appends are decided and stored
        in the order of the calls. `taken` are keys that the store is known to have, and is told of more.
        """
        append = PendingAppend(self, commands, self._loop.create_future(), taken)
        self._pending.append(append)
        if self._lane is None:
            self._catch_up()
        else:
            self._decide(append, self._lane)
            if append.stored:
                self._resolve()
        return append.done

    async def flush(self) -> None:
        """Waits until all that is on its way is stored or has failed. Failures are for their own callers to hear."""
        if self._pending:
            with suppress(TurnlogError):
                await self.submit()

    # Deciding

    def _decide(self, append: PendingAppend, lane: Lane) -> None:
        """Decides the append on the state as it will be, and hands it over. A refusal is for this append alone."""
        state, position = self.state, self.version + 1
        try:
            if not encode_text(append, position, append.commands, state, self._encoder):
                decided = _decided(state, append.commands, append.taken)
                self._encoder.encode(append, position, state, decided)
                state = decided[-1].state if decided else state
            append.lane = lane
            if append.count:
                self._group_commit.put(append)
            else:
                append.stored = True
        except Exception as error:  # noqa: BLE001 whatever it is, the appends after it must not wait for ever
            self._pending.remove(append)
            _fail(append, error)
            return
        append.state = self.state = state
        append.version = self.version = self.version + append.count

    async def _recalled(self, commands: Sequence[Command]) -> Sequence[Command]:
        """The commands, each with the result that the store has for its call where the state has forgotten it. Raises
        StoreError."""
        recalled, version = commands, -1
        while version != self.version and any(self._is_forgotten(command) for command in commands):
            await self.flush()
            # What the store says has to be of the state that is decided on.
            version = self.version
            recalled = [await self._with_result(command) for command in commands]
        return recalled

    def _is_forgotten(self, command: Command) -> bool:
        state = self.state
        if not isinstance(command, AddToolResult) or not isinstance(state, Active):
            return False
        return (
            awaited_call(state.awaited, command.call_id, command.step_id) is None
            and answer_key(command.call_id, command.step_id) not in state.memory.answered
        )

    async def _with_result(self, command: Command) -> Command:
        if not isinstance(command, AddToolResult):
            return command
        answered = await self._accepted.find(self.session_id, command.call_id, command.step_id)
        return replace(command, answered=answered)

    # What became of it

    def settled(self, append: PendingAppend, error: StoreError | None) -> None:
        """Called by the group commit, on the loop, once for each append."""
        if error is None:
            append.stored = True
            if self._pending and self._pending[0] is append:
                self._resolve()
        elif append in self._pending:  # else it was given up, or is being tried again
            self._not_stored(append, error)

    def _not_stored(self, append: PendingAppend, error: StoreError) -> None:
        lane = append.lane
        if self._lane is lane:
            self._lane = None
        if isinstance(error, OvertakenError) and self._may_try_again(append):
            if error.taken:
                append.taken = append.taken if append.taken is not None else set()
                append.taken |= error.taken
            self._catch_up()
            return
        is_overtaken = isinstance(error, OvertakenError)
        failure = AppendConflictError("other writers kept taking the position") if is_overtaken else error
        # With all that was decided on top of it: decided again, a text would be stored without the one before it.
        for failed in [other for other in self._pending if other.lane is lane]:
            self._pending.remove(failed)
            _fail(failed, failure)
        self._resolve()

    def _may_try_again(self, append: PendingAppend) -> bool:
        time = self._loop.time()
        if append.conflict_since is None:
            append.conflict_since = time
        return time < append.conflict_since + CONFLICT_SECONDS

    def _resolve(self) -> None:
        while self._pending and self._pending[0].stored:
            append = self._pending.popleft()
            if append.state is not None:
                self._stored_state, self.stored_version = append.state, append.version
                if append.count:
                    self.stored_commit_id = append.commit_id
            if not append.done.done():
                append.done.set_result(append.count)
        if self.stored_version >= self._keeper.due:
            self._keeper.offer(StoredState(self._stored_state, self.stored_version, self.stored_commit_id))

    # Catching up

    def _catch_up(self) -> None:
        if self._catching_up is None:
            self._catching_up = spawned(self._read_and_decide_again(), "catching up")

    async def _read_and_decide_again(self) -> None:
        try:
            if pause := self._pause():
                await asyncio.sleep(pause)
            known = StoredState(self._stored_state, self.stored_version, self.stored_commit_id, self._keeper.position)
            load = self._states.catch_up(known) if self._is_loaded else self._states.load(self.session_id)
            stored = await load
        except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
            self._fail_all(error)
            return
        finally:
            self._catching_up = None
        lane = self._begin(stored)
        self._pending = deque(append.again() for append in self._pending)
        for append in list(self._pending):
            self._decide(append, lane)
        self._resolve()

    def _pause(self) -> float:
        """Seconds to wait before reading what came in between: none the first time. Later the time is random, because
        of many that append to one session one gets through, and all others would only keep Postgres busy."""
        since = self._pending[0].conflict_since if self._pending else None
        if since is None:
            return 0
        return random() * min(self._loop.time() - since, LONGEST_PAUSE)  # noqa: S311 no secret

    def _fail_all(self, error: Exception) -> None:
        while self._pending:
            _fail(self._pending.popleft(), error)


def _decided(state: SessionState, commands: Sequence[Command], taken: set[bytes] | None) -> list[Decided]:
    """The events of the commands, each decided on the state after the ones before it. Raises what `decide` raises."""
    decided = list[Decided]()
    for command in commands:
        for event in decide(state, with_taken(command, taken) if taken else command):
            state = evolve(state, event)
            decided.append(Decided(event, state))
    return decided


def _fail(append: PendingAppend, error: Exception) -> None:
    if not append.done.done():
        append.done.set_exception(error)
