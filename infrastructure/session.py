"""A session as a handler sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import UUID, uuid4

from turnlog.domain.commands import (
    AddMessage,
    AddToolResult,
    AssignOwner,
    CancelSteps,
    Command,
    CompactContext,
    DeleteSession,
    IncrementCounter,
    MarkFork,
    ReportUsage,
    SetMetadata,
    SetTitle,
)
from turnlog.domain.errors import InvalidInputError, LogClosedError, SessionNotFoundError
from turnlog.domain.events import OwnerAssigned, SessionEvent, SessionStarted
from turnlog.domain.inputs import (
    MAX_COUNTER,
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
from turnlog.domain.state import Active, SessionState
from turnlog.infrastructure.aggregate import Aggregate
from turnlog.infrastructure.background import Background
from turnlog.infrastructure.clock import Clock, now
from turnlog.infrastructure.completion import Completion, StepWriter
from turnlog.infrastructure.follow import Following, Source
from turnlog.infrastructure.hub import Hub
from turnlog.infrastructure.ids import new_id
from turnlog.infrastructure.lease import WriterLease
from turnlog.infrastructure.live import Deltas, Live
from turnlog.infrastructure.principal import SYSTEM, Principal, may_use
from turnlog.infrastructure.prompts import Prompts
from turnlog.infrastructure.pump import Pump
from turnlog.infrastructure.recording import Recording
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.streams import as_object
from turnlog.infrastructure.views import Views
from turnlog.projections.deltas import Offsets
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import APIS, CountTokens, PromptPolicy
from turnlog.projections.prompt.explain import Explanation, explain
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.prompt.window import estimated_tokens
from turnlog.projections.view import SessionView, Step

if TYPE_CHECKING:
    from turnlog.infrastructure.store.store import EventStore
    from turnlog.infrastructure.store.writer import GroupWriter

Chunk = TypeVar("Chunk")

EVENTS_AT_ONCE = 1_000
FORKED_AT_ONCE = 10_000


class Context:
    """What all sessions of a log share."""

    def __init__(
        self,
        store: EventStore,
        writer: GroupWriter,
        views: Views,
        prompts: Prompts,
        hub: Hub,
        background: Background,
        lease: WriterLease,
        settings: Settings,
    ) -> None:
        self.store = store
        self.writer = writer
        self.views = views
        self.prompts = prompts
        self.hub = hub
        self.background = background
        self.settings = settings
        self.clock = Clock()
        self.lease = lease
        self.pumps: set[Pump[Any]] = set()
        self.aggregate: Callable[[UUID], Aggregate]
        self.closed = False

    def check_open(self) -> None:
        """Raises LogClosedError once the log was closed."""
        if self.closed:
            raise LogClosedError("the log was closed")


class Session:
    """One conversation, for one principal.

    Every method raises SessionNotFoundError when the session is unknown, deleted, or not the principal's, and
    StoreError when Postgres cannot do what is asked. `await session` checks that the session is there.
    """

    def __init__(self, context: Context, aggregate: Aggregate, principal: Principal) -> None:
        self._context = context
        self._aggregate = aggregate
        self._principal = principal

    @property
    def id(self) -> UUID:
        """The session's id."""
        return self._aggregate.session_id

    def __await__(self) -> Generator[Any, Any, Session]:
        return self._checked().__await__()

    async def _checked(self) -> Session:
        self._context.check_open()
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
        limit = self._context.settings.max_message_bytes
        if role == "assistant" and content == []:
            content = None  # some back ends write it so beside tool calls
        command = AddMessage(
            at=now(),
            message_id=new_id() if message_id is None else checked_id(message_id, "message_id"),
            role=checked_role(role),
            content=None if content is None else checked_content(content, limit),
            name=checked_name(name),
            refusal=checked_optional_text(refusal, "refusal", limit),
            tool_calls=checked_tool_calls(tool_calls, limit),
            function_call=None if function_call is None else checked_function(function_call, "function_call", limit),
        )
        _check_message(command)
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
        pump = self._pump(stream, model, takeover)
        pump.is_detached = detached
        return Recording(pump)

    async def record_in_background(
        self, stream: AsyncIterator[Any], model: str | None = None, *, takeover: bool = False
    ) -> str:
        """Records a stream to its end with no consumer at all: clients follow the session.

        Returns the step's id once the step is open. What the provider raises then is in the log (the step is failed),
        and logged. Closing the log interrupts the step. Raises TurnInProgressError; `takeover` as in `record`.
        """
        pump = self._pump(stream, model, takeover)
        pump.is_detached, pump.has_consumer = True, False
        pump.start()
        await pump.begun()
        return pump.step.step_id

    def _pump(self, stream: AsyncIterator[Chunk], model: str | None, takeover: bool) -> Pump[Chunk]:
        context = self._context
        pump = Pump(self._step(), stream, model, context.settings.read_ahead_chunks, context.pumps)
        pump.takeover = takeover
        return pump

    async def cancel(self, reason: str = "stopped") -> bool:
        """Ends the answer that is being written, by whichever process, as interrupted; what was written stays.

        Does not wait for the recording process, which hears of it within about a second at most, closes the
        provider's stream, and can write no more. False, and nothing is recorded, where no step is open. Raises
        InvalidInputError.
        """
        await self._authorise()
        ended = await self._aggregate.execute(CancelSteps(now(), checked_text(reason, "reason")))
        if ended:
            self._context.hub.steps_ended(self.id)
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
            content=checked_content(content, self._context.settings.max_message_bytes),
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
            now(), _id_or_new(id), checked_id(counter, "counter"), checked_id(key, "key"), checked_count(by, "by")
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
        reported = as_object(usage) if usage is not None else {}
        if reported is None:
            raise InvalidInputError("usage", "must be a JSON object")
        reported |= {name: checked_count(count, name) for name, count in tokens.items()}
        if not reported:
            raise InvalidInputError("usage", "must not be empty")
        await self._execute(ReportUsage(now(), _id_or_new(id), reported, checked_optional_text(model, "model")))

    async def compact(self, summary: str, upto: int) -> None:
        """From here on prompts have `summary`, as a user's message, in place of what began at or before the position
        `upto`; system and developer messages stay. The view and the log keep everything.

        The same again changes nothing. Raises InvalidInputError, also where a step up to there is still open or
        waits for a tool result: the result would have lost its call.
        """
        if not checked_text(summary, "summary", self._context.settings.max_message_bytes).strip():
            raise InvalidInputError("summary", "must not be blank")
        view = await self.view()
        checked_range(upto, "upto", 1, view.version)
        for turn in view.turns:
            for step in (step for step in turn.steps if step.position <= upto and _is_unfinished(step)):
                raise InvalidInputError("upto", f"the step at {step.position} is open or waits for a tool result")
        waiting = view.turns[-1].steps[-1:] if view.turns else ()
        for step in (step for step in waiting if step.position <= upto and step.unanswered_calls()):
            if step.status == "finished":
                raise InvalidInputError("upto", f"the step at {step.position} waits for a tool result")
        await self._execute(CompactContext(now(), summary, upto))

    # Reading

    async def view(self) -> SessionView:
        """The session as it is now, with all that this process has appended."""
        self._context.check_open()
        await self._aggregate.flush()
        projector = await self._context.views.load(self.id)
        self._allow(projector.state)
        return projector.view()

    async def prompt(
        self,
        api: Literal["chat", "anthropic", "responses"] = "chat",
        max_tokens: int | None = None,
        count_tokens: CountTokens = estimated_tokens,
        policy: PromptPolicy | None = None,
    ) -> Any:
        """What to send to the provider next: valid for the API, whatever happened.

        `chat`: messages; `anthropic`: a dict of `system` and `messages`; `responses`: input items. With `max_tokens`
        system and developer messages stay, and as many whole turns from the end as fit; `count_tokens` takes a list
        of messages in the shape of the API. Raises PromptTooLongError when the last turn alone does not fit, its
        tool results shortened, and InvalidInputError.
        """
        if api not in APIS:
            raise InvalidInputError("api", f"{api!r} is not one of: {', '.join(APIS)}")
        if max_tokens is not None:
            checked_range(max_tokens, "max_tokens", 1, MAX_COUNTER)
        self._context.check_open()
        await self._aggregate.flush()
        prompts, default = self._context.prompts, policy is None or policy == DEFAULT_POLICY
        if max_tokens is not None:
            prompt = await prompts.window(self.id, api, policy or DEFAULT_POLICY, max_tokens, count_tokens)
        elif api == "chat" and default:
            prompt = await prompts.chat(self.id)
        else:
            prompt = await prompts.whole(self.id, api, policy or DEFAULT_POLICY)
        if prompt is None or not self._owns(prompt.user_id):
            raise SessionNotFoundError(self.id)
        return prompt.messages

    async def explain_prompt(self, api: Literal["chat", "anthropic", "responses"] = "chat") -> Explanation:
        """The events behind each message of the prompt, and where a prompt did not begin as the one before it. It
        reads all events: for looking into a session. Raises InvalidInputError."""
        if api not in APIS:
            raise InvalidInputError("api", f"{api!r} is not one of: {', '.join(APIS)}")
        events = [event async for event in self.events()]
        return explain(Projector(self.id), events, api)

    async def at(self, version: int) -> SessionView:
        """The view as it was after the event at this position; nothing behind it is read. Raises InvalidInputError
        for a position that is not there."""
        projector = Projector(self.id)
        async for page in self._pages(await self._checked_version(version)):
            projector.apply_all(page)
        return projector.view()

    async def fork(self, version: int | None = None) -> Session:
        """A new session with copies of the events up to this position (None: all), owned by who owns this one.

        A step that was open there is abandoned in the fork, for nobody writes it there. Up to `FORKED_AT_ONCE` events
        are stored together or not at all; more are copied in parts, in bounded memory, and a fork that fails in
        between is deleted. Raises InvalidInputError for a position that is not there.
        """
        version = await self._checked_version(version)
        fork = self._context.aggregate(uuid4())
        fork.begin_empty()
        try:
            await self._copy_into(fork, version)
        except BaseException:
            if fork.version:
                self._context.background.spawn(_given_up(fork))
            raise
        return Session(self._context, fork, self._principal)

    async def _copy_into(self, fork: Aggregate, version: int) -> None:
        page, owned = list[SessionEvent](), False
        async for following in self._pages(version, FORKED_AT_ONCE):
            if page:
                await fork.adopt(page)
            page = [event.event for event in following]
            owned = owned or _is_owned(page)
        commands: list[Command] = [MarkFork(now(), self.id, version)]
        state = self._aggregate.state
        if isinstance(state, Active) and state.user_id is not None and not owned:
            commands.append(AssignOwner(now(), state.user_id))
        await fork.adopt(page, *commands)

    async def _checked_version(self, version: int | None) -> int:
        await self._aggregate.flush()
        await self._checked()
        last = self._aggregate.stored_version
        return last if version is None else checked_range(version, "version", 1, last)

    async def _pages(self, upto: int, at_once: int = EVENTS_AT_ONCE) -> AsyncIterator[list[RecordedEvent]]:
        for after in range(0, upto, at_once):
            yield await self._context.store.read(self.id, after=after, upto=min(after + at_once, upto))

    async def events(self, after: int = 0) -> AsyncIterator[RecordedEvent]:
        """The stored events after a position, in order, up to the last one that is there."""
        checked_count(after, "after")
        await self._aggregate.flush()
        await self._checked()
        while page := await self._context.store.read(self.id, after=after, limit=EVENTS_AT_ONCE):
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
        return Following(self._source, self._context.hub.left, after, until_turn_ends)

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
        return Deltas(self.follow(after, until_turn_ends), self._context.store, self.id, offsets)

    async def _source(self) -> Source:
        await self._authorise()
        return await self._context.hub.source(self.id)

    # Inside

    def _step(self) -> StepWriter:
        context = self._context
        return StepWriter(
            self._aggregate,
            self._authorise,
            context.store,
            context.writer,
            context.hub,
            context.clock,
            context.lease,
            context.settings.max_message_bytes,
            new_id(),
        )

    async def _execute(self, command: Command) -> None:
        await self._authorise()
        await self._aggregate.execute(command)

    async def _authorise(self) -> None:
        self._context.check_open()
        await self._aggregate.ready()
        if not self._is_allowed(self._aggregate.state):
            # It may have been started, or given to this user, by another process since it was looked at.
            await self._aggregate.refresh()
        self._allow(self._aggregate.state)

    def _allow(self, state: SessionState) -> None:
        if not self._is_allowed(state):
            raise SessionNotFoundError(self.id)

    def _is_allowed(self, state: SessionState) -> bool:
        return may_use(state, self._principal)

    def _owns(self, user_id: str | None) -> bool:
        return self._principal is SYSTEM or user_id == self._principal


def _id_or_new(given: str | None) -> str:
    return new_id() if given is None else checked_id(given, "id")


def _is_owned(events: Sequence[SessionEvent]) -> bool:
    return any(isinstance(event, SessionStarted | OwnerAssigned) and event.user_id is not None for event in events)


async def _given_up(fork: Aggregate) -> None:
    await fork.execute(DeleteSession(now()))


def _is_unfinished(step: Step) -> bool:
    return step.status == "open" or any(result.status == "pending" for result in step.tool_results)


def _check_message(command: AddMessage) -> None:
    if command.role == "assistant":
        if command.content is None and not (command.refusal or command.tool_calls or command.function_call):
            raise InvalidInputError("content", "an assistant message without content needs something else")
        return
    for field in ("refusal", "tool_calls", "function_call"):
        if getattr(command, field):
            raise InvalidInputError(field, f"is an assistant's, not a {command.role}'s")
    if command.content is None:
        raise InvalidInputError("content", f"a {command.role} message must have one")
    if command.role == "function" and not command.name:
        raise InvalidInputError("name", "a function message must have one")
