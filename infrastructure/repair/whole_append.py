"""A whole append: any number of events of one session, decided and stored piece by piece, all of them or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from turnlog.domain.commands import Command
from turnlog.domain.decide import decide
from turnlog.domain.events import SessionEvent
from turnlog.domain.evolve import evolve
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.store.appends import Append
from turnlog.infrastructure.store.encoding import AppendEncoder, Copied, Decided
from turnlog.infrastructure.store.whole import WholeAppend
from turnlog.projections.stored_state import StoredState


class Pieces:
    """The pieces of a whole append. `state` and `version` are those after the last piece."""

    def __init__(self, session_id: UUID, whole: WholeAppend, stored: StoredState) -> None:
        self.state, self.version = stored.state, stored.version
        self.last: Append | None = None
        self._whole = whole
        self._encoder = AppendEncoder(session_id)
        whole.stored_commit_id = stored.commit_id

    def stored(self) -> StoredState:
        """What decisions rest on after the last piece, once all are stored."""
        return StoredState(self.state, self.version, self._whole.stored_commit_id)

    async def copy(self, events: Iterable[SessionEvent]) -> None:
        """Appends events of another session as they are."""
        await self._add(lambda: self._copied(events))

    async def copy_stored(self, copied: Sequence[Copied]) -> None:
        """The same with events as they are stored, most of which need not be read for it."""
        append = Append(self._whole)
        args = append, self.version + 1, self.state, copied
        self.state = await asyncio.to_thread(self._encoder.copy, *args)
        await self._store(append)

    async def execute(self, commands: Sequence[Command]) -> None:
        """Appends the events of these commands. Raises what `decide` raises."""
        await self._add(lambda: self._decided(commands))

    async def _add(self, decide_all: Callable[[], list[Decided]]) -> None:
        await self._store(await asyncio.to_thread(self._encoded, decide_all))

    async def _store(self, append: Append) -> None:
        if append.count:
            await self._whole.add(append)
            self.last = append
            self.version += append.count

    # On a thread, because a piece is large

    def _encoded(self, decide_all: Callable[[], list[Decided]]) -> Append:
        append, before = Append(self._whole), self.state
        self._encoder.encode(append, self.version + 1, before, decide_all())
        return append

    def _copied(self, events: Iterable[SessionEvent]) -> list[Decided]:
        decided = list[Decided]()
        for event in events:
            self.state = evolve(self.state, event)
            decided.append(Decided(event, self.state, is_copy=True))
        return decided

    def _decided(self, commands: Sequence[Command]) -> list[Decided]:
        decided = list[Decided]()
        for command in commands:
            for event in decide(self.state, command):
                self.state = evolve(self.state, event)
                decided.append(Decided(event, self.state))
        return decided


@asynccontextmanager
async def whole_append(parts: LogParts, session_id: UUID, stored: StoredState) -> AsyncIterator[Pieces]:
    """Stores the pieces that the block appends after `stored`, or nothing where the block or an append fails. Raises
    OvertakenError where somebody else has appended meanwhile, and StoreError."""
    parts.check_open()
    async with parts.store.whole_append(session_id) as whole:
        pieces = Pieces(session_id, whole, stored)
        yield pieces
    if pieces.last is not None:
        parts.watcher.stored([pieces.last])
        parts.views.states.keep(pieces.stored())
