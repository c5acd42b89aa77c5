"""A session as a handler sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, overload
from uuid import UUID

from turnlog.domain.commands import Command, CompactContext, SetMetadata
from turnlog.domain.errors import InvalidInputError, SessionNotFoundError
from turnlog.domain.inputs import check_kind, checked_object, checked_range, checked_text, checked_version
from turnlog.domain.recorded import Cursor, RecordedEvent
from turnlog.infrastructure.access import Access
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.append.checked_commands import (
    checked_cancel,
    checked_increment,
    checked_message,
    checked_set_title,
    checked_tool_result,
    checked_usage,
)
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.append.recording import Recording
from turnlog.infrastructure.append.step_io import StepIO
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.follow.following import Following
from turnlog.infrastructure.follow.live import Deltas, Live
from turnlog.infrastructure.follow.source import Source
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.principal import Principal
from turnlog.infrastructure.repair.forking import make_fork
from turnlog.infrastructure.tasks import off_loop
from turnlog.projections.compacting import check_compaction
from turnlog.projections.deltas import Offsets
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, CountTokens, PromptPolicy, check_api, check_prompt
from turnlog.projections.prompt.explain import Explanation, explain
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.prompt.window import estimated_tokens
from turnlog.projections.view import SessionView

Chunk = TypeVar("Chunk")


class Session:
    """One conversation, as one principal may use it.

    Every method raises SessionNotFoundError when the session is unknown, deleted, or not the principal's, StoreError
    when Postgres cannot do what is asked, and LogClosedError when the log is closed. `await session` checks that the
    session is there.
    """

    def __init__(self, parts: LogParts, aggregate: Aggregate, principal: Principal) -> None:
        self._parts = parts
        self._aggregate = aggregate
        self._access = Access(parts, aggregate, principal)

    @property
    def id(self) -> UUID:
        """The session's id."""
        return self._aggregate.session_id

    def __await__(self) -> Generator[Any, Any, Session]:
        return self._checked().__await__()

    async def _checked(self) -> Session:
        await self._access.standing()
        return self

    def __repr__(self) -> str:
        return f"<Session {self.id}>"

    # Writing

    async def add_message(
        self,
        role: Literal["system", "developer", "user", "assistant", "function"],
        content: str | Sequence[Mapping[str, Any]] | None,
        *,
        message_id: str | None = None,
        name: str | None = None,
        refusal: str | None = None,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        function_call: Mapping[str, Any] | None = None,
    ) -> str:
        """Adds a whole message and returns its id.

        `content` is text or a list of content parts; only an assistant message may have none. `refusal`,
        `tool_calls` and `function_call` are for assistant messages only. A `message_id` that the session has already
        is a retry: nothing is added, and the arguments are not compared with what was stored. Raises
        InvalidInputError.
        """
        limit = self._parts.settings.max_message_bytes
        command = checked_message(role, content, message_id, name, refusal, tool_calls, function_call, limit)
        await self._execute(command)
        return command.message_id

    async def say(self, content: str | Sequence[Mapping[str, Any]], message_id: str | None = None) -> str:
        """Adds a message of the user and returns its id; the same as `add_message("user", ...)`."""
        return await self.add_message("user", content, message_id=message_id)

    def record(
        self, stream: AsyncIterator[Chunk], model: str | None = None, *, takeover: bool = False, detached: bool = False
    ) -> Recording[Chunk]:
        """Records a provider's Chat Completions stream as one step.

        `stream` is an openai AsyncStream, or any async iterator of its chunks or of dicts like them. Yields each chunk
        unchanged once its events are durable. See Recording for the ways in which it ends. With `detached` the stream
        is recorded to its end even if the consumer leaves, as when a client disconnects; `cancel` stops it.

        Raises TurnInProgressError at the first chunk while another step is being written, StepClosedError when another
        writer has taken the step over, and whatever the stream raises. A chunk of another API raises InvalidInputError,
        is not recorded, and fails the step: see `completion` for such answers.

        A step that a dead process left open is closed as abandoned once its writer's lease has run out. Until then
        recording is refused. With `takeover` the first chunk waits instead, at most for the rest of the lease, and is
        refused only if the other writer shows that it is alive by renewing its lease.
        """
        return Recording(self._parts.recorder(self._step(), stream, model, takeover=takeover, detached=detached))

    async def record_in_background(
        self, stream: AsyncIterator[Any], model: str | None = None, *, takeover: bool = False
    ) -> str:
        """Records a stream to its end without a consumer: clients follow the session.

        Returns the step's id once the step is open. An exception of the provider fails the step and is logged. Closing
        the log interrupts the step. Raises TurnInProgressError. `takeover` works as in `record`.
        """
        recorder = self._parts.recorder(self._step(), stream, model, takeover=takeover, detached=True)
        recorder.leave()
        recorder.start()
        await recorder.begun()
        return recorder.step.step_id

    async def cancel(self, reason: str = "stopped") -> bool:
        """Ends the answer that is being written, in any process, as interrupted. What was written stays.

        Does not wait for the process that records it: that one can write nothing more, learns of it within about a
        second, and closes the provider's stream. Returns False, and records nothing, if no step is open. Raises
        InvalidInputError.
        """
        await self._access.check()
        ended = await self._aggregate.execute(checked_cancel(reason))
        if ended:
            self._parts.watcher.steps_ended(self.id)
        return ended > 0

    def completion(self, model: str | None = None, *, takeover: bool = False) -> Completion:
        """One step that a handler writes itself, without an OpenAI stream: see Completion. `takeover` works as in
        `record`."""
        return Completion(self._step(), model, takeover)

    async def add_tool_result(
        self,
        call_id: str,
        content: str | Sequence[Mapping[str, Any]],
        status: Literal["pending", "final", "error"] = "final",
        *,
        step_id: str | None = None,
    ) -> None:
        """Answers a tool call: in the step `step_id`, or else in the latest step where a call with this id has no
        result or a pending one. Providers reuse call ids, so a late result should name its step.

        A pending result is replaced by the next one. A final or error result stands. The same result again changes
        nothing. Raises UnknownToolCallError, ToolResultConflictError for a second, different final result, and
        InvalidInputError.
        """
        limit = self._parts.settings.max_message_bytes
        await self._execute(checked_tool_result(call_id, content, status, step_id, limit))

    async def set_title(self, title: str, only_if_empty: bool = False) -> None:
        """Sets the title; with `only_if_empty` only if there is none. Raises InvalidInputError for a blank title."""
        await self._execute(checked_set_title(title, only_if_empty))

    async def set_metadata(self, patch: Mapping[str, Any]) -> None:
        """Merges a JSON Merge Patch (RFC 7386) into the metadata: None removes a key. Raises InvalidInputError."""
        await self._execute(SetMetadata(now(), checked_object(patch, "patch")))

    async def increment(
        self,
        counter: str,
        key: str,
        by: int = 1,
        *,
        id: str | None = None,  # noqa: A002 the field's name
    ) -> None:
        """Adds `by` to `counters[counter][key]`. The same `id` again changes nothing. Raises InvalidInputError."""
        await self._execute(checked_increment(counter, key, by, id))

    async def add_usage(
        self,
        usage: Any = None,
        *,
        model: str | None = None,
        id: str | None = None,  # noqa: A002 the field's name
        **tokens: int,
    ) -> None:
        """Reports usage outside of a recorded step: a provider's usage object, kept verbatim, or token counts by name
        (`prompt_tokens=...`). The same `id` again changes nothing. Raises InvalidInputError."""
        await self._execute(checked_usage(usage, model, id, tokens))

    async def compact(self, summary: str, upto: int) -> None:
        """From now on prompts have `summary`, as a message of the user, instead of everything that began at or before
        the position `upto`. System and developer messages stay, and the view and the log keep everything.

        The same compaction again changes nothing. Raises InvalidInputError, also when a step up to `upto` is still
        open or waits for a tool result: the result would lose its call.
        """
        if not checked_text(summary, "summary", self._parts.settings.max_message_bytes).strip():
            raise InvalidInputError("summary", "must not be blank")
        view = await self.view()
        check_compaction(view, checked_range(upto, "upto", 1, view.version))
        await self._execute(CompactContext(now(), summary, upto))

    # Reading

    async def view(self) -> SessionView:
        """The session as it is now, with everything that this process has appended."""
        projector = await self._parts.views.load(self.id, await self._access.ask())
        if not projector.exists:
            raise SessionNotFoundError(self.id)
        return await off_loop(projector.is_large, projector.view)

    @overload
    async def prompt(
        self,
        api: Literal["chat", "responses"] = "chat",
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
    ) -> list[Any]: ...

    @overload
    async def prompt(
        self,
        api: Literal["anthropic"],
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
    ) -> dict[str, Any]: ...

    async def prompt(
        self,
        api: Api = "chat",
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
    ) -> Any:
        """What to send to the provider next. It is valid for the API, whatever has happened in the session.

        `chat` gives messages, `anthropic` a dict with `system` and `messages`, `responses` input items. With
        `max_tokens` the prompt has the system and developer messages, and as many whole turns from the end as fit.
        `count_tokens` takes a list of messages in the shape of the API, and may be called on a thread. Raises
        InvalidInputError, and PromptTooLongError when not even the last turn fits with its tool results shortened.
        """
        check_prompt(api, max_tokens, count_tokens, policy)
        prompts, policy = self._parts.prompts, policy or DEFAULT_POLICY
        asked = await self._access.ask(prompts.base(self.id))
        if max_tokens is not None:
            return await prompts.window(asked, api, policy, max_tokens, count_tokens)
        if api == "chat" and policy == DEFAULT_POLICY:
            return await prompts.chat(asked)
        return await prompts.whole(asked, api, policy)

    async def explain_prompt(self, api: Api = "chat") -> Explanation:
        """Which events each message of the prompt comes from, and where a prompt did not begin like the one before
        it. Reads all events, so it is for looking into a session. Raises InvalidInputError."""
        check_api(api)
        events = [event async for event in self.events()]
        return await asyncio.to_thread(explain, self.id, events, api)

    async def at(self, version: int) -> SessionView:
        """The view as it was after the event at this position. No later event is read. Raises InvalidInputError for a
        position that the session does not have."""
        standing, projector = await self._access.standing(), Projector(self.id)
        await self._parts.store.events.fold(projector, checked_version(version, standing.position))
        return await off_loop(projector.is_large, projector.view)

    async def fork(self, version: int | None = None) -> Session:
        """A new session with copies of the events up to this position (None: all), and with the same owner.

        A step that was open at that position is abandoned in the fork: nobody writes it there. A fork is whole or not
        there, however many events it has, and they are copied in bounded memory. Raises InvalidInputError for a
        position that the session does not have.
        """
        standing = await self._access.standing()
        upto = checked_version(version, standing.position)
        made = await make_fork(self._parts, self.id, standing.user_id, upto)
        return Session(self._parts, made, self._access.principal)

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
        parts, source = self._parts, partial(self._source, cursor)
        return Following(source, parts.watcher.left, cursor.position, until_turn_ends, parts.home.check)

    def deltas(self, after: int | str = 0, until_turn_ends: bool = False) -> Deltas:
        """Like `follow`, with each event as the Delta that a client needs: small, and with its position as a cursor.

        `after` is the position of the last delta that the client has, the version of its view, or a cursor
        (`Deltas.cursor`). A cursor is refused where the log went back before it; of positions only one beyond the end.
        """
        return self._deltas(after, until_turn_ends)

    def live(self, until_turn_ends: bool = False) -> Live:
        """The view as it is now and the deltas after it, without a gap or a repetition:

            async with session.live() as live:
                live.view
                async for delta in live: ...

        The deltas come as from `deltas`.
        """
        return Live(self.view, self._deltas, until_turn_ends)

    def _deltas(self, after: int | str, until_turn_ends: bool, offsets: Offsets | None = None) -> Deltas:
        return Deltas(self.follow(after, until_turn_ends), self._parts.store, self.id, offsets)

    async def _source(self, cursor: Cursor) -> Source:
        await self._access.check_cursor(cursor)
        return await self._parts.watcher.source(self.id)

    # Inside

    def _step(self) -> StepIO:
        return self._parts.step_io(self._aggregate, self._access.check)

    async def _execute(self, command: Command) -> None:
        await self._access.check()
        await self._aggregate.execute(command)
