"""The prompts of sessions, made from as few reads as possible.

The chat prompt is cached as a text that only grows (`projections/prompt/settled_prefix.py`). If nothing has happened
since it was cached, it costs one read of Redis, while Postgres is asked for the session's position. If something has,
only the new events and the turns that they change are read. A window reads as many turns from the end as it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic_core import to_json

from turnlog.domain.state import Active
from turnlog.domain.values import Frozen
from turnlog.infrastructure.cache import Cache
from turnlog.infrastructure.cache_entry import Entry
from turnlog.infrastructure.read.prompt_memory import PromptMemory
from turnlog.infrastructure.read.views import TAIL_TO_KEEP, Views
from turnlog.infrastructure.tasks import Background
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, CountTokens, PromptPolicy, build_prompt, windowed_prompt
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.prompt.settled_prefix import (
    ChatMessages,
    SettledPrefix,
    begin_prompt,
    call_ids,
    continue_prompt,
)
from turnlog.projections.prompt.window import only_pinned

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore

TURNS_AT_FIRST = 16
"""Turns that a window reads first. It reads four times as many whenever all of them fit."""


class _LastLine(Frozen):
    """The last line of a cached prompt. `turns` is the number of settled turns, `compacted` the position of the
    compaction that the prompt begins with (0: none), and `rest` are the messages that are not settled."""

    user_id: str | None
    turns: int
    compacted: int
    rest: ChatMessages


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, and the owner of its session."""

    messages: Any
    user_id: str | None


@dataclass(frozen=True, slots=True)
class _Cached:
    entry: Entry
    settled: ChatMessages
    last: _LastLine

    def prompt(self) -> Prompt:
        return Prompt(self.settled + self.last.rest, self.last.user_id)


class Prompts:
    """Reads prompts. All are None for an unknown or deleted session."""

    def __init__(
        self, store: EventStore, cache: Cache, views: Views, background: Background, memory_bytes: int
    ) -> None:
        self._store = store
        self._cache = cache
        self._views = views
        self._background = background
        self._memory = PromptMemory(memory_bytes)

    def key(self, session_id: UUID) -> str:
        """The key of the session's chat prompt in Redis."""
        return self._cache.key(session_id, "chat")

    def forget(self, session_id: UUID) -> None:
        """Forgets the prompt that this process remembers."""
        self._memory.drop(session_id)

    async def read(
        self, session_id: UUID, api: Api, policy: PromptPolicy, max_tokens: int | None, count_tokens: CountTokens
    ) -> Prompt | None:
        """The prompt for an API; with `max_tokens`, the part of it that fits. Raises PromptTooLongError."""
        if max_tokens is not None:
            return await self.window(session_id, api, policy, max_tokens, count_tokens)
        if api == "chat" and policy == DEFAULT_POLICY:
            return await self.chat(session_id)
        return await self.whole(session_id, api, policy)

    async def chat(self, session_id: UUID) -> Prompt | None:
        """The prompt for the Chat Completions API."""
        asked = self._store.positions.ask(session_id)
        entry = self._memory.get(session_id) or await self._cache.get(self.key(session_id))
        cached = _parsed(entry) if entry is not None else None  # parsed while Postgres answers
        position = await asked
        if cached is not None and position is not None and cached.entry.position > position:
            cached = None  # it belongs to another log
        if cached is not None and cached.entry.position == position:
            self._memory.put(session_id, cached.entry)
            return cached.prompt()
        if cached is not None and (prompt := await self._continued(session_id, cached)) is not None:
            return prompt
        return await self._begun(session_id)

    async def window(
        self, session_id: UUID, api: Api, policy: PromptPolicy, max_tokens: int, count_tokens: CountTokens
    ) -> Prompt | None:
        """The part of the prompt that fits. Raises PromptTooLongError."""
        turns = TURNS_AT_FIRST
        projector = await self._views.load_end(session_id, turns)
        while True:
            if not isinstance(projector.state, Active):
                return None
            loaded = [only_pinned(0, projector.pinned), *projector.turns()]
            window = windowed_prompt(loaded, api, projector.compaction, policy, max_tokens, count_tokens)
            # If the window begins with the first turn that was read, the one before it may fit as well.
            if projector.first_turn == 0 or window.first > 1:
                return Prompt(window.prompt, projector.state.user_id)
            turns *= 4
            projector = await self._views.widen(projector, turns)

    async def whole(self, session_id: UUID, api: Api, policy: PromptPolicy) -> Prompt | None:
        """The prompt of all turns."""
        projector = await self._views.load(session_id)
        if not isinstance(projector.state, Active):
            return None
        return Prompt(build_prompt(projector.turns(), api, projector.compaction, policy), projector.state.user_id)

    async def _continued(self, session_id: UUID, cached: _Cached) -> Prompt | None:
        projector = await self._views.load_end(session_id, 1)
        missing = projector.first_turn - cached.last.turns
        if missing > 0:
            projector = await self._views.load_end(session_id, 1 + missing)
        compacted = projector.compaction.position if projector.compaction else 0
        if not isinstance(projector.state, Active) or compacted != cached.last.compacted:
            return None
        if projector.reached_back > cached.entry.position or projector.first_turn > cached.last.turns:
            return None
        turns = projector.turns()[cached.last.turns - projector.first_turn :]
        more = continue_prompt(turns, projector.closed_turns, projector.compaction, call_ids(cached.settled))
        if more is None:
            return None
        self._keep(projector, more, cached.entry)
        return Prompt(cached.settled + more.settled + more.rest, projector.state.user_id)

    async def _begun(self, session_id: UUID) -> Prompt | None:
        projector = await self._views.load(session_id)
        if not isinstance(projector.state, Active):
            return None
        parts = begin_prompt(projector.turns(), projector.closed_turns, projector.compaction)
        self._keep(projector, parts, None)
        return Prompt(parts.settled + parts.rest, projector.state.user_id)

    def _keep(self, projector: Projector, parts: SettledPrefix, before: Entry | None) -> None:
        base = before.position if before else 0
        is_due = not projector.is_streaming or projector.version - base >= TAIL_TO_KEEP
        if not is_due or not isinstance(projector.state, Active):
            return
        last = _LastLine(
            user_id=projector.state.user_id,
            turns=parts.turns,
            compacted=projector.compaction.position if projector.compaction else 0,
            rest=parts.rest,
        )
        key, lines = self.key(projector.session_id), [to_json(parts.settled)[1:-1]] if parts.settled else []
        entry = self._cache.made(key, projector.version, lines, last.to_json(), before)
        self._memory.put(projector.session_id, entry)
        if self._cache.is_writable:
            self._background.spawn(self._put(entry, before))

    async def _put(self, entry: Entry, before: Entry | None) -> None:
        if not await self._cache.put(entry, before):
            await self._cache.put(entry)  # another process has written another one, or Redis has dropped it


def _parsed(entry: Entry) -> _Cached | None:
    try:
        settled, last = entry.parsed()
        return _Cached(entry, settled, _LastLine.model_validate(last))
    except ValueError:
        return None
