"""The answer to a message as chunks of the AI SDK's UI message stream: what there is, and then what comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.follow.following import Following
from turnlog.infrastructure.read.view_parts import TurnPage
from turnlog.projections.projector import PagesNeeded, Projector
from turnlog.projections.turn import Turn
from turnlog.projections.ui_stream import UiStream

Json = dict[str, Any]

LAST_TURNS, ALL_TURNS = 3, 1_000
"""Turns in which the message is looked for: first in the last ones."""
EVENTS_AT_ONCE = 1_000
"""Events that are told together, at most, where they are there already."""


class UiChunksFollower:
    """An async iterator over chunks. It ends when the answer has ended, or waits for somebody else; a deleted session
    ends it, too. A call that is cancelled has taken nothing. Raises what `Session.follow` raises, and InvalidInputError
    for a message that is not in the session's last 1,000 turns."""

    def __init__(
        self,
        load: Callable[[int], Awaitable[tuple[TurnPage, Projector]]],
        follow: Callable[[int], Following],
        message_id: str | None,
        is_known: bool,
    ) -> None:
        self._load = load
        self._follow = follow
        self._message_id = message_id
        self._is_known = is_known
        self._stream: UiStream | None = None
        self._following: Following | None = None
        self._is_behind = False
        self._ready: deque[Json] = deque()
        self.is_running = False
        """Whether the answer was being given when this began. Known once it has begun."""

    def __aiter__(self) -> Self:
        return self

    @property
    def is_ready(self) -> bool:
        """Whether the next chunk is here, and need not be waited for."""
        return bool(self._ready)

    async def begun(self) -> Self:
        """Reads the answer as it is. Raises what the first call of the iteration would raise."""
        if self._stream is None:
            after, page, projector = await self._found()
            stream = UiStream(projector, after)
            self._ready.extend(stream.continued(page.turns) if self._is_known else stream.opened(page.turns))
            self.is_running = not stream.is_over and bool(page.turns) and _is_running(page.turns[-1])
            self._stream, self._following = stream, self._follow(page.version)
        return self

    async def __anext__(self) -> Json:
        await self.begun()
        stream, following = self._stream, self._following
        while not self._ready:
            if stream is None or following is None or stream.is_over:
                raise StopAsyncIteration
            if self._is_behind:
                await self._renew(stream)
                following = self._following
                continue
            self._take(stream, await anext(following), following)
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Ends the iteration."""
        if self._following is not None:
            await self._following.aclose()

    def _take(self, stream: UiStream, recorded: Any, following: Following) -> None:
        """Takes an event, and those that are there already."""
        try:
            for _ in range(EVENTS_AT_ONCE):
                if (chunk := stream.take(recorded)) is not None:
                    self._ready.append(chunk)
                if not following.is_ready:
                    break
                recorded = following.taken()
        except PagesNeeded:
            self._is_behind = True
            return
        self._ready.extend(stream.settled())

    async def _renew(self, stream: UiStream) -> None:
        page, projector = await self._load(LAST_TURNS)
        following = self._follow(page.version)
        if self._following is not None:
            await self._following.aclose()
        self._following, self._is_behind = following, False
        self._ready.extend(stream.renewed(projector))

    async def _found(self) -> tuple[int, TurnPage, Projector]:
        for limit in (LAST_TURNS, ALL_TURNS):
            page, projector = await self._load(limit)
            after = _asked_last(page.turns) if self._message_id is None else _place_of(page.turns, self._message_id)
            if after is not None:
                return after, page, projector
        raise InvalidInputError("message_id", "is no message of the session's last turns")


def _place_of(turns: Sequence[Turn], message_id: str) -> int | None:
    messages = (message for turn in turns for message in turn.messages)
    return next((message.position for message in messages if message.message_id == message_id), None)


def _asked_last(turns: Sequence[Turn]) -> int:
    """Before which message the answer begins that is being given, or was given last: that before the last step, or of a
    turn that has none yet."""
    turn = next((turn for turn in reversed(turns) if turn.is_in_hand), turns[-1] if turns else None)
    if turn is None:
        return 0
    end = turn.steps[-1].position if turn.steps else turn.position + 1
    said = [message.position for message in turn.messages if message.position < end and message.role != "function"]
    return max(said, default=0)


def _is_running(turn: Turn) -> bool:
    """Whether more is to come by itself: somebody has begun with the turn, or it waits for its own."""
    return (bool(turn.steps) or bool(turn.runs) or turn.is_queued) and turn.status != "abandoned"
