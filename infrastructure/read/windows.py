"""Windows: the part of a prompt that fits a number of tokens, made from the end of the session.

Where the API joins no messages, what is settled of the end of a session is remembered in parts that are rendered and
counted once (`projections/prompt/window_parts.py`). Then a window costs the parse of what it has, and one count of it.
Else, and at first, as many turns and segments are read from the end as it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from turnlog.domain.errors import SessionNotFoundError
from turnlog.infrastructure.read.asked import Asked
from turnlog.infrastructure.read.views import Views
from turnlog.infrastructure.read.window_memory import Counted, WindowKind, WindowMemory
from turnlog.infrastructure.tasks import off_loop
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import (
    Api,
    CountTokens,
    DialectName,
    PromptPolicy,
    WindowedPrompt,
    windowed_prompt,
)
from turnlog.projections.prompt.window import estimated_tokens, only_pinned
from turnlog.projections.prompt.window_parts import Part, Parts, PartsMaker, has_parts
from turnlog.projections.segments import whole_turns
from turnlog.projections.turn import Message

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore

PAGES_AT_FIRST = 16
"""Closed turns and segments that a window reads first. It reads four times as many whenever all of them fit."""

MOST_AT_ONCE, MOST_FOR_OTHERS = 128 * 1024, 16 * 1024
"""Bytes of messages that are counted on the event loop, by the estimate and by a counter of somebody else."""


class Windows:
    """Reads windows. Every method raises what `asked` raises, SessionNotFoundError, and StoreError."""

    def __init__(self, store: EventStore, views: Views, memory_bytes: int) -> None:
        self._store = store
        self._views = views
        self._memory = WindowMemory(memory_bytes)
        self._limit = memory_bytes

    def forget(self, session_id: UUID) -> None:
        """Forgets what this process has counted of the session."""
        self._memory.forget(session_id)

    def base(self, session_id: UUID, api: Api, policy: PromptPolicy) -> int:
        """The position that what was counted rests on; 0 if there is nothing. It is worth asking for."""
        counted = self._memory.get(WindowKind(session_id, api, policy))
        return counted.position if counted is not None else 0

    async def window(
        self,
        asked: Asked,
        api: Api,
        policy: PromptPolicy,
        max_tokens: int,
        count_tokens: CountTokens,
        dialect: DialectName | None,
    ) -> Any:
        """The part of the prompt that fits. Raises PromptTooLongError."""
        if has_parts(api, policy, dialect):
            kind = WindowKind(asked.session_id, api, policy)
            prompt = await self._of_parts(asked, kind, max_tokens, count_tokens)
            if prompt is not None:
                return prompt
        pages = PAGES_AT_FIRST
        projector = found(await self._views.load_end(asked.session_id, pages, asked))
        while True:
            of = partial(_window_of, projector, api, policy, max_tokens, count_tokens, dialect)
            window = await off_loop(projector.is_large, of)
            # If the window begins with the first turn that was read, the one before it may fit as well.
            if projector.first_turn == 0 or not window.has_all:
                return window.prompt
            pages *= 4
            projector = found(await self._views.widen(projector, pages))

    async def _of_parts(self, asked: Asked, kind: WindowKind, max_tokens: int, count: CountTokens) -> Any:
        """The window made of parts; None if it cannot be."""
        maker = PartsMaker(kind.api, kind.policy)
        projector, made = await self._gone_on(asked, kind, maker)
        pages = PAGES_AT_FIRST
        while True:
            if made is None:
                projector = found(await self._views.load_end(asked.session_id, pages, asked))
                made = await off_loop(projector.is_large, _begun, maker, projector)
            if made is None or projector is None:
                return None
            settled, rest = made
            parts = (*settled.parts, *rest)
            of = partial(_of_parts, maker, parts, _pinned(projector), projector, max_tokens, count)
            most = MOST_AT_ONCE if count is estimated_tokens else MOST_FOR_OTHERS
            window = await off_loop(sum(len(part.text) for part in parts) > most, of)
            if window is None:
                return None
            first, prompt = window
            if first > 0 or settled.is_whole:
                self._remember(kind, projector, settled, first)
                return prompt
            if projector.first_turn == 0:
                return None
            pages, made = pages * 4, None

    async def _gone_on(
        self, asked: Asked, kind: WindowKind, maker: PartsMaker
    ) -> tuple[Projector | None, tuple[Parts, list[Part]] | None]:
        """The end of the session, and its parts, out of those that are remembered; None if they are of no use."""
        counted = self._memory.get(kind)
        if counted is None:
            return None, None
        base = asked
        if asked.base != counted.position:
            await asked.standing()
            base = Asked(self._store, kind.session_id, counted.position)
        projector = found(await self._views.load_end(kind.session_id, 1, base))
        missing = projector.first_turn - counted.parts.border.page
        if missing > 0:
            projector = found(await self._views.load_end(kind.session_id, 1 + missing))
        is_there = (await base.standing()).base_commit_id == counted.commit_id
        compacted = projector.compaction.position if projector.compaction else 0
        is_same = compacted == counted.compacted and projector.rewrote <= counted.position <= projector.version
        if not (is_there and is_same and projector.first_turn <= counted.parts.border.page):
            self._memory.drop(kind)
            return None, None
        return projector, await off_loop(projector.is_large, _continued, maker, counted.parts, projector)

    def _remember(self, kind: WindowKind, projector: Projector, settled: Parts, first: int) -> None:
        if first and settled.size > self._limit // 4:
            settled = replace(settled, parts=settled.parts[first:], is_whole=False)
        compacted = projector.compaction.position if projector.compaction else 0
        self._memory.put(kind, Counted(settled, projector.version, projector.commit_id, compacted))


def found(projector: Projector) -> Projector:
    """The projector of a session that is there. It may have been deleted since it was asked for."""
    if not projector.exists:
        raise SessionNotFoundError(projector.session_id)
    return projector


def _pinned(projector: Projector) -> list[Message]:
    held = (message for turn in projector.unclosed_turns() for message in turn.messages if message.is_pinned)
    return [*projector.pinned_in_pages(), *held]


# What may take long, and is then called on a thread


def _window_of(
    projector: Projector,
    api: Api,
    policy: PromptPolicy,
    max_tokens: int,
    count_tokens: CountTokens,
    dialect: DialectName | None,
) -> WindowedPrompt:
    turns = [only_pinned(-1, projector.pinned), *whole_turns(projector.sent_segments())]
    return windowed_prompt(turns, api, projector.compaction, policy, max_tokens, count_tokens, dialect)


def _begun(maker: PartsMaker, projector: Projector) -> tuple[Parts, list[Part]] | None:
    closed, first = projector.closed_turns, projector.first_turn
    return maker.begun(projector.sent_segments(), first, closed, projector.compaction)


def _continued(maker: PartsMaker, before: Parts, projector: Projector) -> tuple[Parts, list[Part]] | None:
    segments = projector.sent_segments(before.border.page)
    return maker.continued(before, segments, projector.closed_turns, projector.compaction)


def _of_parts(
    maker: PartsMaker,
    parts: Sequence[Part],
    pinned: Sequence[Message],
    projector: Projector,
    max_tokens: int,
    count: CountTokens,
) -> tuple[int, Any] | None:
    return maker.window(parts, pinned, projector.compaction, max_tokens, count) if parts else None
