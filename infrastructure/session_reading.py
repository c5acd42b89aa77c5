"""What a session gives to read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Literal, TypeVar, overload
from uuid import UUID

from turnlog.domain.errors import SessionNotFoundError
from turnlog.domain.inputs import check_kind, checked_range, checked_version
from turnlog.domain.limits import MAX_COUNTER
from turnlog.domain.recorded import Cursor, RecordedEvent
from turnlog.infrastructure.access import Access
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.follow.following import Following
from turnlog.infrastructure.follow.live import Deltas, Live
from turnlog.infrastructure.follow.source import Source
from turnlog.infrastructure.follow.ui_follower import UiChunksFollower
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.principal import Principal
from turnlog.infrastructure.read.view_parts import TurnPage
from turnlog.infrastructure.tasks import fed, off_loop
from turnlog.projections.offsets import Offsets
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, CountTokens, DialectName, PromptPolicy, check_api, check_prompt
from turnlog.projections.prompt.explain import Explanation, explain
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.prompt.tokens import estimated_tokens
from turnlog.projections.turn import Turn
from turnlog.projections.view import SessionView

Chunk = TypeVar("Chunk")

MAX_TURNS_AT_ONCE = 1_000
"""Turns of a page, at most."""


class SessionReading:
    """The part of a Session that reads it: see there."""

    def __init__(self, parts: LogParts, aggregate: Aggregate, principal: Principal) -> None:
        self._parts = parts
        self._aggregate = aggregate
        self._access = Access(parts, aggregate, principal)

    @property
    def id(self) -> UUID:
        """The session's id."""
        return self._aggregate.session_id

    async def view(self) -> SessionView:
        """The session as it is now, with everything that this process has appended."""
        projector = await self._parts.views.load(self.id, await self._access.ask())
        if not projector.exists:
            raise SessionNotFoundError(self.id)
        return await off_loop(projector.is_large, projector.view)

    async def turns(self, before: int | None = None, limit: int = 20) -> list[Turn]:
        """A page of the view's turns as they are now, in their order: the last `limit`, or with `before` those before
        the turn of this index. The index of the first turn of a page is the `before` of the page before it.

        Nothing else of the session is read, so it costs the same however long that is. Raises InvalidInputError."""
        if before is not None:
            checked_range(before, "before", 0, MAX_COUNTER)
        checked_range(limit, "limit", 1, MAX_TURNS_AT_ONCE)
        return list((await self._page(before, limit)).turns)

    async def _page(self, before: int | None, limit: int) -> TurnPage:
        return await self._parts.view_parts.turns(await self._access.ask(), before, limit)

    async def cursor(self) -> str:
        """What names the session's last event, such as `17-3fa9c2`: to go on after it (see `deltas`), or to see later
        whether anything has happened. No event is read for it."""
        standing = await self._access.standing()
        return Cursor(standing.position, standing.commit_id).text

    @overload
    async def prompt(
        self,
        api: Literal["chat", "responses"] = "chat",
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
        dialect: DialectName | None = None,
    ) -> list[Any]: ...

    @overload
    async def prompt(
        self,
        api: Literal["anthropic"],
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
    ) -> dict[str, Any]: ...

    @overload
    async def prompt(
        self,
        api: Api = "chat",
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
        dialect: DialectName | None = None,
    ) -> Any: ...

    async def prompt(
        self,
        api: Api = "chat",
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
        dialect: DialectName | None = None,
    ) -> Any:
        """What to send to the provider next. It is valid for the API, whatever has happened in the session.

        `chat` gives messages, `anthropic` a dict with `system` and `messages`, `responses` input items. With
        `max_tokens` the prompt has the system and developer messages, and as many whole steps from the end as fit,
        behind what the user said at the beginning of their turn.
        `count_tokens` takes a list of messages in the shape of the API, and may be called on a thread. `dialect` names
        a provider behind the Chat Completions API, whose rules the messages then keep; `strict` those of all of them.
        Raises InvalidInputError, and PromptTooLongError when not even the last step fits with its tool results
        shortened.
        """
        check_prompt(api, max_tokens, count_tokens, policy, dialect)
        prompt = await self._prompt(api, max_tokens, count_tokens, policy, dialect)
        self._parts.observer.prompted(self.id, api, prompt)
        return prompt

    async def _prompt(
        self,
        api: Api,
        max_tokens: int | None,
        count_tokens: CountTokens,
        policy: PromptPolicy | None,
        dialect: DialectName | None,
    ) -> Any:
        prompts, windows = self._parts.prompts, self._parts.prompts.windows
        if max_tokens is not None:
            policy = policy or DEFAULT_POLICY
            asked = await self._access.ask(windows.base(self.id, api, policy))
            return await windows.window(asked, api, policy, max_tokens, count_tokens, dialect)
        asked = await self._access.ask(prompts.base(self.id, api))
        if dialect is None and (policy is None or policy == DEFAULT_POLICY):
            return await prompts.usual(asked, api)
        return await prompts.whole(asked, api, policy or DEFAULT_POLICY, dialect)

    async def explain_prompt(self, api: Api = "chat", dialect: DialectName | None = None) -> Explanation:
        """Which events each message of the prompt comes from, and where a prompt did not begin like the one before
        it; and what some providers would refuse of the request, or the one that `dialect` names. Reads all events, a
        page at a time, so it is for looking into a session. Raises InvalidInputError."""
        check_api(api, dialect)
        standing = await self._access.standing()
        pages = self._parts.store.events.pages(self.id, upto=standing.position)
        return await fed(pages, lambda events: explain(self.id, events, api, dialect))

    async def at(self, version: int) -> SessionView:
        """The view as it was after the event at this position. No later event is read. Raises InvalidInputError for a
        position that the session does not have."""
        projector = await self._projector_at(version)
        return await off_loop(projector.is_large, projector.view)

    async def _projector_at(self, version: int) -> Projector:
        standing = await self._access.standing()
        return await self._parts.view_parts.at(self.id, checked_version(version, standing.position))

    async def prompt_at(self, version: int, api: Api = "chat", dialect: DialectName | None = None) -> Any:
        """The prompt as it was after the event at this position: what `prompt` would have given then. No later event is
        read. Raises InvalidInputError, also for a position that the session does not have."""
        check_api(api, dialect)
        return await self._parts.prompts.of(await self._projector_at(version), api, DEFAULT_POLICY, dialect)

    async def events(self, after: int | str = 0) -> AsyncIterator[RecordedEvent]:
        """The stored events after a position or a cursor, in order, up to the last one. Raises UnknownPositionError for
        one that the session does not have, and InvalidInputError."""
        cursor = Cursor.of(after)
        await self._access.check_cursor(cursor)
        async for page in self._parts.store.events.pages(self.id, cursor.position):
            for event in page:
                yield event

    def follow(self, after: int | str = 0, until_turn_ends: bool = False) -> Following:
        """The events after a position or a cursor: those that are stored, then each as it comes, from any process.

        An async iterator that gives the events in order, each exactly once, until the caller leaves it. With
        `until_turn_ends` it ends when the last turn has ended (`Turn.has_ended`): at once, if that has happened already
        and nothing comes after `after`. See Following for what it raises.
        """
        cursor = Cursor.of(after)
        check_kind(until_turn_ends, bool, "until_turn_ends")
        parts, source = self._parts, partial(self._source, cursor, until_turn_ends)
        return Following(source, parts.watcher.left, cursor, until_turn_ends, parts.home.check)

    def deltas(self, after: int | str = 0, until_turn_ends: bool = False) -> Deltas:
        """Like `follow`, with each event as the Delta that a client needs: small, and with its position as a cursor.

        `after` is the position of the last delta that the client has, the version of its view, or a cursor
        (`Deltas.cursor`). A cursor is refused where the log went back before it; of positions only one beyond the end.
        """
        return self._deltas(after, until_turn_ends)

    def live(self, until_turn_ends: bool = False, *, limit: int | None = None) -> Live:
        """The view as it is now and the deltas after it, without a gap or a repetition:

            async with session.live() as live:
                live.view
                async for delta in live: ...

        With a `limit` there is no view, but its last turns, in `live.turns`: so a page of a long session costs what it
        shows, and asks for those before them with `turns`. The deltas come as from `deltas`. Raises InvalidInputError.
        """
        if limit is not None:
            checked_range(limit, "limit", 1, MAX_TURNS_AT_ONCE)
            return Live(partial(self._page, None, limit), self._deltas, until_turn_ends)
        return Live(self.view, self._deltas, until_turn_ends)

    def _deltas(self, after: int | str, until_turn_ends: bool, offsets: Offsets | None = None) -> Deltas:
        return Deltas(self.follow(after, until_turn_ends), self._parts.store, self.id, offsets)

    def ui_chunks(self, message_id: str | None = None, *, is_known: bool = False) -> UiChunksFollower:
        """The answer to a message as the chunks of the AI SDK's UI message stream: as it is now, in as many chunks as
        it has parts, and then each change of it, until it has ended or waits for somebody else.

        Without a `message_id` it is the answer that is being given, if any. `is_known`: whoever asks has the answer as
        it is, and is told only what changes. See UiChunksFollower.
        """
        check_kind(is_known, bool, "is_known")
        return UiChunksFollower(self._end, self.follow, message_id, is_known)

    async def _end(self, limit: int) -> tuple[TurnPage, Projector]:
        return await self._parts.view_parts.end(await self._access.ask(), None, limit)

    async def _source(self, cursor: Cursor, watched: bool) -> Source:
        await self._access.check_cursor(cursor)
        return await self._parts.watcher.source(self.id, watched=watched)
