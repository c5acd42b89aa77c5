"""A session as a handler sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload
from uuid import UUID

from turnlog.domain.commands import (
    AddMessage,
    AddToolResult,
    CancelSteps,
    Command,
    CompactContext,
    IncrementCounter,
    ReportUsage,
    SetMetadata,
    SetTitle,
)
from turnlog.domain.errors import InvalidInputError, SessionNotFoundError
from turnlog.domain.inputs import (
    MAX_COUNTER,
    check_message,
    checked_content,
    checked_count,
    checked_function,
    checked_id,
    checked_name,
    checked_object,
    checked_optional_text,
    checked_range,
    checked_role,
    checked_status,
    checked_text,
    checked_title,
    checked_tool_calls,
)
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import SessionState
from turnlog.infrastructure.append.aggregate import Aggregate
from turnlog.infrastructure.append.chunk_reader import reported_usage
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.append.recording import Recording
from turnlog.infrastructure.append.step_io import StepIO
from turnlog.infrastructure.append.stream_recorder import StreamRecorder
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.follow.following import Following
from turnlog.infrastructure.follow.live import Deltas, Live
from turnlog.infrastructure.follow.source import Source
from turnlog.infrastructure.ids import new_id
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.principal import Principal, may_use, owns
from turnlog.infrastructure.repair.forking import make_fork
from turnlog.projections.compacting import check_compaction
from turnlog.projections.deltas import Offsets
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, CountTokens, PromptPolicy, check_api
from turnlog.projections.prompt.explain import Explanation, explain
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.prompt.window import estimated_tokens
from turnlog.projections.view import SessionView

Chunk = TypeVar("Chunk")

READ_PAGE_EVENTS = 1_000


class Session:
    """One conversation, for one principal.

    Every method raises SessionNotFoundError when the session is unknown, deleted, or not the principal's, and
    StoreError when Postgres cannot do what is asked. `await session` checks that the session is there.
    """

    def __init__(self, parts: LogParts, aggregate: Aggregate, principal: Principal) -> None:
        self._parts = parts
        self._aggregate = aggregate
        self._principal = principal

    @property
    def id(self) -> UUID:
        """The session's id."""
        return self._aggregate.session_id

    def __await__(self) -> Generator[Any, Any, Session]:
        return self._checked().__await__()

    async def _checked(self) -> Session:
        self._parts.check_open()
        await self._aggregate.refresh()
        self._allow(self._aggregate.state)
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
        `tool_calls` and `function_call` are an assistant's. A `message_id` that is known is taken for a retry: nothing
        is added, and what is given with it is not compared with what was stored. Raises InvalidInputError.
        """
        limit = self._parts.settings.max_message_bytes
        if role == "assistant" and content == []:
            content = None  # some back ends write it so beside tool calls
        command = AddMessage(
            at=now(),
            message_id=_id_or_new(message_id, "message_id"),
            role=checked_role(role),
            content=None if content is None else checked_content(content, limit),
            name=checked_name(name),
            refusal=checked_optional_text(refusal, "refusal", limit),
            tool_calls=checked_tool_calls(tool_calls, limit),
            function_call=None if function_call is None else checked_function(function_call, "function_call", limit),
        )
        check_message(command)
        await self._execute(command)
        return command.message_id

    async def say(self, content: str | Sequence[Mapping[str, Any]], message_id: str | None = None) -> str:
        """Adds a message of the user, as `add_message("user", ...)`; also a known `message_id` is taken as there."""
        return await self.add_message("user", content, message_id=message_id)

    def record(
        self, stream: AsyncIterator[Chunk], model: str | None = None, *, takeover: bool = False, detached: bool = False
    ) -> Recording[Chunk]:
        """Records a provider's Chat Completions stream as one step.

        `stream` is an openai AsyncStream, or any async iterator of such chunks or dicts. Yields each chunk unchanged
        once its events are durable; see Recording for how it ends. `detached`: the stream is recorded to its end
        also when the consumer goes away, as when a client disconnects; `cancel` ends it. Raises TurnInProgressError
        at the first chunk while another step is written, StepClosedError when another writer took the step over,
        InvalidInputError in place of a chunk of another API, which is not recorded and ends the step as failed (see
        `completion`), and whatever the stream raises.

        A step that a dead process left open is closed as abandoned once its writer's lease has run out. With
        `takeover` the first chunk waits for that, at most for the rest of the lease, instead of being refused; while
        the other writer is alive it is refused all the same, once that has renewed its lease.
        """
        return Recording(self._recorder(stream, model, takeover, detached))

    async def record_in_background(
        self, stream: AsyncIterator[Any], model: str | None = None, *, takeover: bool = False
    ) -> str:
        """Records a stream to its end with no consumer at all: clients follow the session.

        Returns the step's id once the step is open. What the provider raises then is in the log (the step is failed),
        and logged. Closing the log interrupts the step. Raises TurnInProgressError; `takeover` as in `record`.
        """
        recorder = self._recorder(stream, model, takeover, detached=True)
        recorder.has_consumer = False
        recorder.start()
        await recorder.begun()
        return recorder.step.step_id

    def _recorder(
        self, stream: AsyncIterator[Chunk], model: str | None, takeover: bool, detached: bool
    ) -> StreamRecorder[Chunk]:
        limit, stream_recorders = self._parts.settings.read_ahead_chunks, self._parts.stream_recorders
        return StreamRecorder(
            self._step(), stream, model, limit, stream_recorders, takeover=takeover, detached=detached
        )

    async def cancel(self, reason: str = "stopped") -> bool:
        """Ends the answer that is being written, by whichever process, as interrupted; what was written stays.

        Does not wait for the recording process, which hears of it within about a second at most, closes the
        provider's stream, and can write no more. False, and nothing is recorded, where no step is open. Raises
        InvalidInputError.
        """
        await self._authorise()
        ended = await self._aggregate.execute(CancelSteps(now(), checked_text(reason, "reason")))
        if ended:
            self._parts.watcher.steps_ended(self.id)
        return ended > 0

    def completion(self, model: str | None = None, *, takeover: bool = False) -> Completion:
        """One step for handlers that do not hold an OpenAI stream; see Completion. `takeover` as in `record`."""
        return Completion(self._step(), model, takeover)

    async def add_tool_result(
        self,
        call_id: str,
        content: str | Sequence[Mapping[str, Any]],
        status: Literal["pending", "final", "error"] = "final",
        *,
        step_id: str | None = None,
    ) -> None:
        """Answers the call of this id in the latest step that has an unanswered or pending one, or in the step
        `step_id`: where ids come back in later steps, a late result must say which call it answers.

        A pending result is replaced by the next one; a final or error result stands. The same result again changes
        nothing. Raises UnknownToolCallError, ToolResultConflictError for a second, different final result, and
        InvalidInputError.
        """
        command = AddToolResult(
            at=now(),
            call_id=checked_text(call_id, "call_id"),
            status=checked_status(status),
            content=checked_content(content, self._parts.settings.max_message_bytes),
            step_id=None if step_id is None else checked_id(step_id, "step_id"),
        )
        await self._execute(command)

    async def set_title(self, title: str, only_if_empty: bool = False) -> None:
        """Sets the title; with `only_if_empty` only if there is none. Raises InvalidInputError for a blank one."""
        await self._execute(SetTitle(now(), checked_title(title), only_if_empty))

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
        command = IncrementCounter(
            now(), _id_or_new(id, "id"), checked_id(counter, "counter"), checked_id(key, "key"), checked_count(by, "by")
        )
        await self._execute(command)

    async def add_usage(
        self,
        usage: Any = None,
        *,
        model: str | None = None,
        id: str | None = None,  # noqa: A002 the field's name
        **tokens: int,
    ) -> None:
        """Reports usage outside a recorded step: a provider's usage object, or token counts by name
        (`prompt_tokens=...`). Kept verbatim. The same `id` again changes nothing. Raises InvalidInputError."""
        reported = reported_usage(usage, tokens)
        await self._execute(ReportUsage(now(), _id_or_new(id, "id"), reported, checked_optional_text(model, "model")))

    async def compact(self, summary: str, upto: int) -> None:
        """From here on prompts have `summary`, as a user's message, in place of what began at or before the position
        `upto`; system and developer messages stay. The view and the log keep everything.

        The same again changes nothing. Raises InvalidInputError, also where a step up to there is still open or
        waits for a tool result: the result would have lost its call.
        """
        if not checked_text(summary, "summary", self._parts.settings.max_message_bytes).strip():
            raise InvalidInputError("summary", "must not be blank")
        view = await self.view()
        check_compaction(view, checked_range(upto, "upto", 1, view.version))
        await self._execute(CompactContext(now(), summary, upto))

    # Reading

    async def view(self) -> SessionView:
        """The session as it is now, with all that this process has appended."""
        self._parts.check_open()
        await self._aggregate.flush()
        projector = await self._parts.views.load(self.id)
        self._allow(projector.state)
        return projector.view()

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

    @overload
    async def prompt(
        self,
        api: Api,
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
    ) -> list[Any] | dict[str, Any]: ...

    async def prompt(
        self,
        api: Api = "chat",
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
    ) -> list[Any] | dict[str, Any]:
        """What to send to the provider next: valid for the API, whatever happened.

        `chat`: messages; `anthropic`: a dict of `system` and `messages`; `responses`: input items. With `max_tokens`
        system and developer messages stay, and as many whole turns from the end as fit; `count_tokens` takes a list
        of messages in the shape of the API. Raises PromptTooLongError when the last turn alone does not fit, its
        tool results shortened, and InvalidInputError.
        """
        check_api(api)
        if max_tokens is not None:
            checked_range(max_tokens, "max_tokens", 1, MAX_COUNTER)
        self._parts.check_open()
        await self._aggregate.flush()
        prompt = await self._parts.prompts.read(self.id, api, policy or DEFAULT_POLICY, max_tokens, count_tokens)
        if prompt is None or not owns(self._principal, prompt.user_id):
            raise SessionNotFoundError(self.id)
        messages: list[Any] | dict[str, Any] = prompt.messages
        return messages

    async def explain_prompt(self, api: Api = "chat") -> Explanation:
        """The events behind each message of the prompt, and where a prompt did not begin as the one before it. It
        reads all events: for looking into a session. Raises InvalidInputError."""
        check_api(api)
        events = [event async for event in self.events()]
        return explain(self.id, events, api)

    async def at(self, version: int) -> SessionView:
        """The view as it was after the event at this position; nothing behind it is read. Raises InvalidInputError
        for a position that is not there."""
        projector = Projector(self.id)
        upto = await self._checked_version(version)
        async for page in self._parts.store.pages(self.id, upto, READ_PAGE_EVENTS):
            projector.apply_all(page)
        return projector.view()

    async def fork(self, version: int | None = None) -> Session:
        """A new session with copies of the events up to this position (None: all), owned by who owns this one.

        A step that was open there is abandoned in the fork, for nobody writes it there. Up to 10,000 events are stored
        together or not at all; more are copied in parts, and what fails in between is deleted. Raises
        InvalidInputError for a position that is not there.
        """
        upto = await self._checked_version(version)
        return Session(self._parts, await make_fork(self._parts, self._aggregate, upto), self._principal)

    async def _checked_version(self, version: int | None) -> int:
        await self._aggregate.flush()
        await self._checked()
        last = self._aggregate.stored_version
        return last if version is None else checked_range(version, "version", 1, last)

    async def events(self, after: int = 0) -> AsyncIterator[RecordedEvent]:
        """The stored events after a position, in order, up to the last one that is there."""
        checked_count(after, "after")
        await self._aggregate.flush()
        await self._checked()
        while page := await self._parts.store.read(self.id, after=after, limit=READ_PAGE_EVENTS):
            for event in page:
                yield event
            after = page[-1].position

    def follow(self, after: int = 0, until_turn_ends: bool = False) -> Following:
        """The events after a position: first those that are stored, then each as it comes, from any process.

        An async iterator, in order, each event exactly once, until the caller leaves it. With `until_turn_ends` it
        ends when the last turn has ended (`Turn.has_ended`), at once if it has and there is nothing after `after`.
        See Following for what it raises.
        """
        checked_count(after, "after")
        return Following(self._source, self._parts.watcher.left, after, until_turn_ends)

    def deltas(self, after: int = 0, until_turn_ends: bool = False) -> Deltas:
        """As `follow`, with each event as the Delta that a client needs: small, and with its position as a cursor.

        `after` is the position of the last delta that the client has, or the version of the view that it has.
        """
        return self._deltas(after, until_turn_ends)

    def live(self, until_turn_ends: bool = False) -> Live:
        """The view as it is now and the deltas after it, with no gap and no repeat::

        async with session.live() as live:
            live.view
            async for delta in live: ...
        """
        return Live(self.view, self._deltas, until_turn_ends)

    def _deltas(self, after: int, until_turn_ends: bool, offsets: Offsets | None = None) -> Deltas:
        return Deltas(self.follow(after, until_turn_ends), self._parts.store, self.id, offsets)

    async def _source(self) -> Source:
        await self._authorise()
        return await self._parts.watcher.source(self.id)

    # Inside

    def _step(self) -> StepIO:
        return self._parts.step_writer(self._aggregate, self._authorise)

    async def _execute(self, command: Command) -> None:
        await self._authorise()
        await self._aggregate.execute(command)

    async def _authorise(self) -> None:
        self._parts.check_open()
        await self._aggregate.ready()
        if not may_use(self._aggregate.state, self._principal):
            # It may have been started, or given to this user, by another process since it was looked at.
            await self._aggregate.refresh()
        self._allow(self._aggregate.state)

    def _allow(self, state: SessionState) -> None:
        if not may_use(state, self._principal):
            raise SessionNotFoundError(self.id)


def _id_or_new(given: str | None, field: str) -> str:
    return new_id() if given is None else checked_id(given, field)
