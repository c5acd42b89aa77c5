"""The prompts of sessions, made from as few reads as possible.

A prompt is cached as a text that only grows (`projections/prompt/settled_prefix.py`), one for each API that is asked
for. If nothing has happened since it was cached, it costs one read of Redis, while Postgres is asked for the session's
position. If something has, only the new events and the turns that they change are read. A prompt by another policy than
the default one, or by the rules of a provider, is made of the whole view.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic_core import to_json

from turnlog.domain.state import Active
from turnlog.domain.values import Frozen
from turnlog.infrastructure.cache import Cache
from turnlog.infrastructure.cache_entry import Entry
from turnlog.infrastructure.read.asked import Asked
from turnlog.infrastructure.read.prompt_memory import PromptMemory
from turnlog.infrastructure.read.views import TAIL_TO_KEEP, Views
from turnlog.infrastructure.read.windows import Windows, found
from turnlog.infrastructure.tasks import Background, off_loop
from turnlog.projections.projector import LARGE_BYTES, LARGE_SIZE, Projector
from turnlog.projections.prompt import (
    APIS,
    Api,
    DialectName,
    PromptPolicy,
    build_prompt,
)
from turnlog.projections.prompt.settled_prefix import (
    Border,
    Messages,
    SettledPrefix,
    begin_prompt,
    call_ids,
    continue_prompt,
    sent,
)
from turnlog.projections.segments import whole_turns

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore


LINE_MESSAGES = 100
"""Messages of a line of a cached prompt, at most: a long text is made and read in pieces."""


class _LastLine(Frozen):
    """The last line of a cached prompt. `commit_id` is that of the event at the entry's position, `page` and `border`
    say where the settled part ends (see Border), `compacted` is the position of the compaction that the prompt begins
    with (0: none), `rest` are the messages that are not settled, and `joinable` those among them that come before the
    border."""

    user_id: str | None
    commit_id: int
    page: int
    border: int
    compacted: int
    rest: Messages
    joinable: Messages = []


@dataclass(frozen=True, slots=True)
class _Cached:
    entry: Entry
    settled: Messages
    last: _LastLine

    def messages(self) -> Messages:
        return self.settled + self.last.rest


class Prompts:
    """Reads prompts. `asked` says that the session may be read, and where it stands. Every method raises what `asked`
    raises, SessionNotFoundError, and StoreError."""

    def __init__(
        self, store: EventStore, cache: Cache, views: Views, background: Background, memory_bytes: int
    ) -> None:
        self._store = store
        self._cache = cache
        self._views = views
        self._background = background
        self._memory = PromptMemory(memory_bytes)
        self.windows = Windows(store, views, memory_bytes)

    def key(self, session_id: UUID, api: Api = "chat") -> str:
        """The key of the session's prompt in Redis."""
        return self._cache.key(session_id, api)

    def forget(self, session_id: UUID) -> None:
        """Forgets the prompts that this process remembers."""
        self._memory.drop(*(self.key(session_id, api) for api in APIS))
        self.windows.forget(session_id)

    def base(self, session_id: UUID, api: Api) -> int:
        """The position that the remembered prompt rests on; 0 if there is none. It is worth asking for."""
        entry = self._memory.get(self.key(session_id, api))
        return entry.position if entry is not None else 0

    async def usual(self, asked: Asked, api: Api) -> Any:
        """The prompt for an API, by the default policy."""
        key = self.key(asked.session_id, api)
        if not asked.is_expected:
            await asked.standing()
        entry = self._memory.get(key) or await self._cache.get(key)
        cached = await _parsed(entry) if entry is not None else None  # while Postgres answers
        standing = await asked.standing()
        if cached is not None and cached.entry.position == standing.position:
            if cached.last.commit_id == standing.commit_id:
                self._looked_up(is_there=True)
                self._memory.put(cached.entry)
                return sent(cached.messages(), api)
        elif cached is not None and cached.entry.position < standing.position:
            messages = await self._continued(asked, api, cached)
            if messages is not None:
                self._looked_up(is_there=True)
                return sent(messages, api)
        self._looked_up(is_there=False)
        return await self._begun(await self._views.load(asked.session_id, asked), api)

    async def usual_of(self, held: Projector, api: Api) -> Any:
        """The same for somebody who works on the session, and holds its last turns as they are now: of the others only
        what was cached is read. A prompt in the middle of a turn is kept only if it has more that is settled."""
        session_id, key = held.session_id, self.key(held.session_id, api)
        if held.first_turn == 0:
            return await self._begun(held, api)
        entry = self._memory.get(key) or await self._cache.get(key)
        if entry is not None and entry.position <= held.version:
            base = Asked(self._store, session_id, entry.position)  # answered while the entry is parsed
            cached = await _parsed(entry)
            messages = await self._continued(base, api, cached, held) if cached is not None else None
            if messages is not None:
                self._looked_up(is_there=True)
                return sent(messages, api)
        self._looked_up(is_there=False)
        return await self._begun(await self._views.load(session_id), api)

    def _looked_up(self, *, is_there: bool) -> None:
        self._views.observer.looked_up("prompt", is_there)

    async def whole(self, asked: Asked, api: Api, policy: PromptPolicy, dialect: DialectName | None) -> Any:
        """The prompt of all turns."""
        return await self.of(found(await self._views.load(asked.session_id, asked)), api, policy, dialect)

    async def of(self, projector: Projector, api: Api, policy: PromptPolicy, dialect: DialectName | None) -> Any:
        """The prompt of all turns of a projection."""
        return await off_loop(projector.is_large, partial(_whole_of, projector, api, policy, dialect))

    async def _continued(
        self, asked: Asked, api: Api, cached: _Cached, held: Projector | None = None
    ) -> Messages | None:
        """The cached messages with what came since. None if it cannot be continued, or rests on a past that is gone."""
        session_id, position = asked.session_id, cached.entry.position
        base = asked if asked.base == position else Asked(self._store, session_id, position)
        projector = held or await self._views.load_end(session_id, 1, base)
        if (await base.standing()).base_commit_id != cached.last.commit_id:
            return None
        missing = projector.first_turn - cached.last.page
        if missing > 0:
            projector = await self._views.load_end(session_id, 1 + missing)
        compacted = projector.compaction.position if projector.compaction else 0
        if not projector.exists or compacted != cached.last.compacted:
            return None
        if projector.rewrote > position or projector.first_turn > cached.last.page:
            return None
        more = await off_loop(projector.is_large, _continuation, cached, projector, api)
        if more is None:
            return None
        if held is None or more.settled:
            await self._keep(projector, api, more, cached.entry)
        return cached.settled + more.settled + more.rest

    async def _begun(self, projector: Projector, api: Api) -> Any:
        parts = await off_loop(projector.is_large, _beginning, found(projector), api)
        await self._keep(projector, api, parts, None)
        return sent(parts.settled + parts.rest, api)

    async def _keep(self, projector: Projector, api: Api, parts: SettledPrefix, before: Entry | None) -> None:
        base = before.position if before else 0
        is_due = not projector.is_streaming or projector.version - base >= TAIL_TO_KEEP
        if not is_due or not isinstance(projector.state, Active):
            return
        is_large = len(parts.settled) + len(parts.rest) > LARGE_SIZE
        entry = await off_loop(is_large, self._made, projector, projector.state, api, parts, before)
        self._memory.put(entry)
        if self._cache.is_writable:
            self._background.spawn(self._put(entry, before))

    def _made(self, projector: Projector, state: Active, api: Api, parts: SettledPrefix, before: Entry | None) -> Entry:
        last = _LastLine(
            user_id=state.user_id,
            commit_id=projector.commit_id,
            page=parts.border.page,
            border=parts.border.position,
            compacted=projector.compaction.position if projector.compaction else 0,
            rest=parts.rest,
            joinable=parts.joinable,
        )
        settled = parts.settled
        lines = [to_json(settled[at : at + LINE_MESSAGES])[1:-1] for at in range(0, len(settled), LINE_MESSAGES)]
        return self._cache.made(self.key(projector.session_id, api), projector.version, lines, last.to_json(), before)

    async def _put(self, entry: Entry, before: Entry | None) -> None:
        if not await self._cache.put(entry, before):
            await self._cache.put(entry)  # another process has written another one, or Redis has dropped it


# What may take long, and is then called on a thread


def _whole_of(projector: Projector, api: Api, policy: PromptPolicy, dialect: DialectName | None) -> Any:
    return build_prompt(whole_turns(projector.sent_segments()), api, projector.compaction, policy, dialect=dialect)


def _continuation(cached: _Cached, projector: Projector, api: Api) -> SettledPrefix | None:
    border, joinable = Border(cached.last.page, cached.last.border), cached.last.joinable
    segments, taken = projector.sent_segments(border.page), call_ids(cached.settled) | call_ids(joinable)
    return continue_prompt(segments, projector.closed_turns, projector.compaction, taken, border, api, joinable)


def _beginning(projector: Projector, api: Api) -> SettledPrefix:
    return begin_prompt(projector.sent_segments(), projector.closed_turns, projector.compaction, api)


async def _parsed(entry: Entry) -> _Cached | None:
    return await off_loop(len(entry.value) > LARGE_BYTES, _cached_in, entry)


def _cached_in(entry: Entry) -> _Cached | None:
    try:
        settled, last = entry.parsed()
        return _Cached(entry, settled, _LastLine.model_validate(last))
    except ValueError:
        return None
