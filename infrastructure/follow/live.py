"""Deltas for clients: what the followers of a session are told, with the offset of each fragment in its block."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

from turnlog.domain.events import CompletionStarted
from turnlog.domain.recorded import RecordedEvent
from turnlog.infrastructure.follow.following import Following
from turnlog.infrastructure.read.view_parts import TurnPage
from turnlog.projections.deltas import Delta, delta_of
from turnlog.projections.offsets import Offsets
from turnlog.projections.turn import Turn
from turnlog.projections.view import SessionView

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore

EARLIER_PAGE_EVENTS = 500
"""Events read in one statement while the beginning of a step is looked for."""


class Deltas:
    """An async iterator over deltas: one for each event of a Following, with the same order, ends and errors. A call
    that is cancelled has taken nothing."""

    def __init__(
        self, following: Following, store: EventStore, session_id: UUID, offsets: Offsets | None = None
    ) -> None:
        self._following = following
        self._store = store
        self._session_id = session_id
        self._offsets = offsets or Offsets()
        self._taken: RecordedEvent | None = None

    @property
    def cursor(self) -> str:
        """What names the event of the last delta, for a client to come back with; empty before the first."""
        return self._following.cursor

    def __aiter__(self) -> Self:
        return self

    @property
    def is_ready(self) -> bool:
        """Whether the next event is here, and need not be waited for."""
        return self._following.is_ready

    async def begun(self) -> Self:
        """Waits until it is known that the session and the position are there. Raises what the first call of the
        iteration would raise."""
        await self._following.begun()
        return self

    async def __anext__(self) -> Delta:
        if self._taken is None:
            self._taken = await anext(self._following)
        event = self._taken.event
        if not self._offsets.know(event):
            # The client came back in the middle of this step: how much of it the client has is counted now.
            step_id: str = event.step_id  # type: ignore[union-attr]  # know() is about steps
            self._offsets.learn(step_id, await self._earlier(step_id, self._taken.position))
        recorded, self._taken = self._taken, None
        return delta_of(recorded, self._offsets.take(recorded))

    async def aclose(self) -> None:
        """Ends the iteration. Dropping the iterator does the same."""
        await self._following.aclose()

    async def _earlier(self, step_id: str, before: int) -> list[RecordedEvent]:
        """The events from the beginning of the step up to this position. Read backwards, a page at a time."""
        earlier: list[RecordedEvent] = []
        async for page in self._store.events.pages_back(self._session_id, before, EARLIER_PAGE_EVENTS):
            earlier += page
            events = (recorded.event for recorded in page)
            if any(isinstance(event, CompletionStarted) and event.step_id == step_id for event in events):
                break
        return earlier


class Live:
    """See `Session.live`."""

    def __init__(
        self,
        load: Callable[[], Awaitable[SessionView | TurnPage]],
        deltas: Callable[[int, bool, Offsets], Deltas],
        until_turn_ends: bool,
    ) -> None:
        self._load = load
        self._deltas_after = deltas
        self._until_turn_ends = until_turn_ends
        self._begin: SessionView | TurnPage | None = None
        self._deltas: Deltas | None = None

    @property
    def view(self) -> SessionView:
        """The view that the deltas continue. Raises RuntimeError where only its last turns were asked for, and outside
        of the `async with` block."""
        if isinstance(begin := self._began(), SessionView):
            return begin
        raise RuntimeError("there is no view: only its last turns were asked for")

    @property
    def turns(self) -> Sequence[Turn]:
        """The turns that the deltas continue: those of the view, or its last ones. Raises RuntimeError outside of the
        `async with` block."""
        return self._began().turns

    @property
    def version(self) -> int:
        """The position that the deltas continue. Raises RuntimeError outside of the `async with` block."""
        return self._began().version

    def _began(self) -> SessionView | TurnPage:
        if self._begin is None:
            raise RuntimeError("use it as: async with session.live() as live")
        return self._begin

    async def __aenter__(self) -> Self:
        self._begin = begin = await self._load()
        self._deltas = self._deltas_after(begin.version, self._until_turn_ends, Offsets(begin.turns))
        return self

    def __aiter__(self) -> Deltas:
        if self._deltas is None:
            raise RuntimeError("use it as: async with session.live() as live")
        return self._deltas

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._deltas is not None:
            await self._deltas.aclose()
