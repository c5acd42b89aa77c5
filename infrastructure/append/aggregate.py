"""The aggregate: one session in this process, on which commands are decided one after the other.

A command is decided on the state as it will be once all that is under way is stored, and handed to the writer in
the same breath, so that handlers of one session never get in each other's way. When another process takes a
position first, or the store's answer is lost, the aggregate reads what happened and decides again, in order, all
that was not stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import random
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.commands import (
    AddMessage,
    AddToolResult,
    AppendText,
    Command,
    ImportMessage,
    IncrementCounter,
    ReportUsage,
)
from turnlog.domain.decide import decide, is_text
from turnlog.domain.errors import (
    AppendConflictError,
    StoreError,
    TurnlogError,
)
from turnlog.domain.events import (
    CompletionStarted,
    CounterIncremented,
    FunctionCallDelta,
    MessageAdded,
    MessageImported,
    ReasoningDelta,
    RefusalDelta,
    SessionEvent,
    TextDelta,
    ToolCallArgumentsDelta,
    ToolResultAdded,
    UsageReported,
    text_delta_json,
)
from turnlog.domain.evolve import awaited_call, evolve, result_fingerprint
from turnlog.domain.state import Active, Deleted, SessionState, initial_state
from turnlog.infrastructure.read.views import Views
from turnlog.infrastructure.store.batch import Append, KeyRow, Lane, PositionTakenError, SessionRow
from turnlog.infrastructure.store.dedup_keys import increment_key, message_key, result_key, usage_key

if TYPE_CHECKING:
    from turnlog.infrastructure.store.group_commit import GroupCommit
    from turnlog.infrastructure.store.store import EventStore

CONFLICT_SECONDS = 30.0
"""So long an append tries for a position before it is given up. By time and not by attempts: the writer that has just
won knows the next position first, and wins again for as long as its caller goes on without a pause."""
LONGEST_PAUSE = 0.1
"""Between two tries for a position, in seconds."""
LIST_TOUCH = timedelta(seconds=1)
"""While only deltas come, the session's line in the lists is touched this often."""

_QUIET_EVENTS = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallArgumentsDelta, FunctionCallDelta)


class PendingAppend(Append):
    """Commands on their way: decided together, stored together. One attempt; the next one is another object, for
    the writer may still hold this one."""

    __slots__ = ("adopted", "commands", "conflict_since", "done", "state", "stored", "version")

    owner: Aggregate

    def __init__(
        self,
        owner: Aggregate,
        commands: tuple[Command, ...],
        done: asyncio.Future[int],
        adopted: tuple[SessionEvent, ...] = (),
        conflict_since: float | None = None,
    ) -> None:
        super().__init__(owner)
        self.commands = commands
        self.done = done
        self.adopted = adopted
        self.conflict_since = conflict_since
        self.stored = False
        self.state: SessionState | None = None
        self.version = 0

    def again(self) -> PendingAppend:
        """The same, undecided."""
        return PendingAppend(self.owner, self.commands, self.done, self.adopted, self.conflict_since)


class Aggregate:
    """`state` and `version` include what is still on its way to the store."""

    def __init__(self, session_id: UUID, store: EventStore, writer: GroupCommit, views: Views) -> None:
        self.session_id = session_id
        self.id_bytes = session_id.bytes
        self.state: SessionState = initial_state(session_id)
        self.version = 0
        self._store = store
        self._writer = writer
        self._views = views
        self._stored: tuple[SessionState, int] | None = None
        self._lane: Lane | None = None
        self._entries: deque[PendingAppend] = deque()
        self._catching_up: asyncio.Task[None] | None = None
        self._next_touch = datetime.min.replace(tzinfo=UTC)
        self._loop = asyncio.get_running_loop()

    @property
    def stored_version(self) -> int:
        """The position of the last event that is known to be stored."""
        return self._stored[1] if self._stored else 0

    async def execute(self, *commands: Command) -> int:
        """Decides the commands as one append and waits until it is stored. Returns the number of its events: none if
        the commands had been carried out before. Raises what `decide` raises, and StoreError."""
        await self.ready()
        try:
            count = await self._execute(commands)
        except StoreError:
            raise
        except TurnlogError:
            count = 0
        if count:
            return count
        # Nothing to do, or refused: that may be so only because others have appended meanwhile.
        await self.refresh()
        return await self._execute(commands)

    async def adopt(self, events: Sequence[SessionEvent], *commands: Command) -> int:
        """Appends these events as they are, and the commands' behind them, to a session that was begun empty and that
        nobody else knows yet: a fork."""
        entry = PendingAppend(self, commands, self._loop.create_future(), tuple(events))
        self._entries.append(entry)
        assert self._lane is not None  # noqa: S101 begin_empty was called
        self._decide(entry, self._lane)
        return await entry.done

    async def _execute(self, commands: Sequence[Command]) -> int:
        recalled = [await self._recalled(command) for command in commands]
        if self._writer.is_full:
            await self._writer.room()
        return await self.submit(*recalled)

    async def refresh(self) -> None:
        """Catches up with what other processes have appended. Raises StoreError."""
        if self._catching_up is not None:
            # It may have read before that which the caller wants to know of was stored.
            await asyncio.wait([self._catching_up])
        if self._entries:
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
        self._stored, self._lane = (self.state, 0), Lane(self._writer.connection)

    def begin_at(self, state: SessionState, version: int) -> None:
        """Skips the loading where the state was folded a moment ago. Should it be old, the store will say so."""
        if self._lane is None and not self._entries:
            self._stored = self.state, self.version = state, version
            self._lane = Lane(self._writer.connection)

    def submit(self, *commands: Command) -> asyncio.Future[int]:
        """As `execute`, at once and without waiting: the future is done when the append is stored.

        Without commands: done when all before it is stored or has failed.

        What `decide` refuses is in the future too. Appends are decided and stored in the order of the calls.
        """
        entry = PendingAppend(self, commands, self._loop.create_future())
        self._entries.append(entry)
        lane = self._lane
        if lane is None:
            self._catch_up()
        elif len(commands) == 1 and is_text(command := commands[0], self.state):
            self._decide_text(entry, lane, command)
        else:
            self._decide(entry, lane)
            if entry.stored:
                self._resolve()
        return entry.done

    async def flush(self) -> None:
        """Waits until all that is on its way is stored or has failed. That it failed is for its own caller to hear."""
        if self._entries:
            with suppress(TurnlogError):
                await self.submit()

    # Deciding

    def _decide(self, entry: PendingAppend, lane: Lane) -> None:
        """Decides the entry on the state as it will be, and hands it over. A refusal is the entry's alone."""
        try:
            state = self._decided(entry)
            entry.lane = lane
            if entry.rows:
                self._writer.put(entry)
            else:
                entry.stored = True
        except Exception as error:  # noqa: BLE001 whatever it is, those behind it must not wait for ever
            self._entries.remove(entry)
            _fail(entry, error)
            return
        entry.state = self.state = state
        entry.version = self.version = self.version + entry.count

    def _decided(self, entry: PendingAppend) -> SessionState:
        """The state after the entry's events, which are put into it as rows."""
        state, at, quiet = self.state, None, True
        for command in (entry.adopted, *entry.commands):
            for event in command if isinstance(command, tuple) else decide(state, command):
                state, at, body = evolve(state, event), event.at, event.to_json()
                entry.rows += (event.topic, body)
                entry.size += len(body)
                entry.count += 1
                if not isinstance(event, _QUIET_EVENTS):
                    quiet = False
                    entry.keys += _keys(self.session_id, event)
        if at is not None:
            entry.position = self.version + 1
            if not quiet or at >= self._next_touch:
                self._next_touch = at + LIST_TOUCH
                entry.session = self._line(state, at, self.version + entry.count)
        return state

    def _decide_text(self, entry: PendingAppend, lane: Lane, command: AppendText) -> None:
        """What `_decide` does, for the command that nearly all are: it changes no state and has no keys."""
        body = text_delta_json(command.at, command.step_id, command.text)
        entry.rows = (TextDelta.topic, body)
        entry.size = len(body)
        entry.count = 1
        entry.position = version = self.version + 1
        if command.at >= self._next_touch:
            self._next_touch = command.at + LIST_TOUCH
            entry.session = self._line(self.state, command.at, version)
        entry.lane = lane
        try:
            self._writer.put(entry)
        except TurnlogError as error:
            self._entries.remove(entry)
            _fail(entry, error)
            return
        entry.state = self.state
        entry.version = self.version = version

    def _line(self, state: SessionState, at: datetime, version: int) -> SessionRow | None:
        known = state if isinstance(state, Active) else self.state
        if not isinstance(known, Active):
            return None
        title = known.title.encode("utf-8", "surrogatepass") if known.title is not None else None
        deleted = isinstance(state, Deleted)
        writer = None if deleted else _writer_of(known)
        return SessionRow(self.session_id, known.user_id, title, known.started_at, at, version, deleted, writer)

    async def _recalled(self, command: Command) -> Command:
        """The command with what the store remembers and the state has forgotten."""
        if not isinstance(self.state, Active) or self.state.memory.complete:
            return command
        memory = self.state.memory
        if isinstance(command, AddMessage | ImportMessage) and command.message_id not in memory.message_ids:
            known = await self._store.find_key(self.session_id, message_key(command.message_id))
            return replace(command, known=known is not None)
        if isinstance(command, IncrementCounter | ReportUsage):
            key = increment_key(command.id) if isinstance(command, IncrementCounter) else usage_key(command.id)
            return replace(command, known=await self._store.find_key(self.session_id, key) is not None)
        if isinstance(command, AddToolResult) and not self._is_awaited(command.call_id, command.step_id):
            answered = await self._store.find_key(self.session_id, result_key(command.call_id, command.step_id))
            return replace(command, answered=answered)
        return command

    def _is_awaited(self, call_id: str, step_id: str | None) -> bool:
        return isinstance(self.state, Active) and awaited_call(self.state.awaited, call_id, step_id) is not None

    # What became of it

    def settled(self, append: PendingAppend, error: StoreError | None) -> None:
        """Called by the writer, on the loop, once for each append."""
        if error is None:
            append.stored = True
            if self._entries and self._entries[0] is append:
                self._resolve()
        elif append in self._entries:  # else it was given up, or is being tried again
            self._not_stored(append, error)

    def _not_stored(self, entry: PendingAppend, error: StoreError) -> None:
        lane = entry.lane
        if self._lane is lane:
            self._lane = None
        taken = isinstance(error, PositionTakenError)
        if taken and self._may_try_again(entry):
            self._catch_up()
            return
        failure = AppendConflictError("other writers kept taking the position") if taken else error
        # With all that was decided on top of it: decided anew, a text would be stored without the one before it.
        for failed in [other for other in self._entries if other.lane is lane]:
            self._entries.remove(failed)
            _fail(failed, failure)
        self._resolve()

    def _may_try_again(self, entry: PendingAppend) -> bool:
        time = self._loop.time()
        if entry.conflict_since is None:
            entry.conflict_since = time
        return time < entry.conflict_since + CONFLICT_SECONDS

    def _resolve(self) -> None:
        while self._entries and self._entries[0].stored:
            entry = self._entries.popleft()
            if entry.state is not None:
                self._stored = (entry.state, entry.version)
            if not entry.done.done():
                entry.done.set_result(entry.count)

    # Catching up

    def _catch_up(self) -> None:
        if self._catching_up is None:
            self._catching_up = asyncio.create_task(self._read_and_decide_again())

    async def _read_and_decide_again(self) -> None:
        connection = self._writer.connection
        try:
            if pause := self._pause():
                await asyncio.sleep(pause)
            if self._stored is None:
                state, version = await self._views.load_state(self.session_id)
            else:
                state, version = await self._views.catch_up(*self._stored)
        except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
            self._fail_all(error)
            return
        finally:
            self._catching_up = None
        self._stored = self.state, self.version = state, version
        self._lane = lane = Lane(connection)  # of before it was read: what was lost meanwhile is noticed
        self._entries = deque(entry.again() for entry in self._entries)
        for entry in list(self._entries):
            self._decide(entry, lane)
        self._resolve()

    def _pause(self) -> float:
        """How long to wait before reading what came in between: nothing the first time; later, when many append to one
        session, a random time, for one of them gets through and all others only keep Postgres busy."""
        since = self._entries[0].conflict_since if self._entries else None
        if since is None:
            return 0
        return random() * min(self._loop.time() - since, LONGEST_PAUSE)  # noqa: S311 no secret

    def _fail_all(self, error: Exception) -> None:
        while self._entries:
            _fail(self._entries.popleft(), error)


def _fail(entry: PendingAppend, error: Exception) -> None:
    if not entry.done.done():
        entry.done.set_exception(error)


def _writer_of(state: Active) -> str | None:
    """Who writes the step that is open, if one is; the latest of several."""
    return next((step.writer or None for step in reversed(state.open_steps.values())), None)


def _keys(session_id: UUID, event: SessionEvent) -> tuple[KeyRow, ...]:
    if isinstance(event, MessageAdded | MessageImported):
        return (KeyRow(session_id, message_key(event.message_id), ""),)
    if isinstance(event, CompletionStarted):
        return (KeyRow(session_id, message_key(event.step_id), ""),)
    if isinstance(event, ToolResultAdded) and event.status != "pending":
        keys = (result_key(event.call_id), result_key(event.call_id, event.step_id))
        return tuple(KeyRow(session_id, key, result_fingerprint(event)) for key in keys)
    if isinstance(event, CounterIncremented):
        return (KeyRow(session_id, increment_key(event.id), ""),)
    if isinstance(event, UsageReported):
        return (KeyRow(session_id, usage_key(event.id), ""),)
    return ()
