"""What a session does about turns: who answers, and what is recorded of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

from turnlog.domain.commands import AddMessage, Command
from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.answer.answer import STOPPED_FOR_NEW, Answer
from turnlog.infrastructure.answer.asking import OnBreak, OnBusy, checked_asking, checked_choice
from turnlog.infrastructure.answer.session_io import SessionIO
from turnlog.infrastructure.append.checked_commands import (
    checked_approval,
    checked_cancel,
    checked_message,
    checked_tool_result,
)
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.append.exchanged import Sent, commands_of
from turnlog.infrastructure.append.held_turn import HeldTurn
from turnlog.infrastructure.append.message_id import MessageId
from turnlog.infrastructure.append.recording import Recording
from turnlog.infrastructure.append.step_io import StepIO, StepPlace
from turnlog.infrastructure.append.stream_recorder import StreamRecorder
from turnlog.infrastructure.append.turn_owner import owner_of
from turnlog.infrastructure.append.whole_answer import record_whole
from turnlog.infrastructure.read.latest import LatestTurns
from turnlog.infrastructure.session_reading import SessionReading
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, PromptPolicy, check_prompt
from turnlog.projections.prompt.dialects import DialectName
from turnlog.projections.prompt.policy import DEFAULT_POLICY
from turnlog.projections.prompt.tokens import estimated_tokens

Chunk = TypeVar("Chunk")


class SessionTurns(SessionReading):
    """The part of a Session that answers, and records answers: see there."""

    async def say(
        self,
        content: str | Sequence[Mapping[str, Any]],
        message_id: str | None = None,
        *,
        on_busy: Literal["steer", "queue", "stop"] = "steer",
    ) -> MessageId:
        """Adds a message of the user and returns its id, as `add_message("user", ...)` does.

        `on_busy` says what becomes of a new message while a turn is in hand: `steer`, and the turn's next request has
        it; `queue`, and it has a turn of its own after that one; `stop`, and that turn is stopped.
        """
        command = self._message(content, message_id)
        checked_choice(on_busy, "on_busy", Literal["steer", "queue", "stop"])
        stops = STOPPED_FOR_NEW if on_busy == "stop" else None
        added = await self._execute(replace(command, queue=on_busy == "queue", stops=stops))
        if added > 1:
            self._parts.watcher.steps_ended(self.id)
        return MessageId.of(command.message_id, is_new=added > 0)

    def answer(  # noqa: PLR0913 each is a choice of the caller's
        self,
        client: Any,
        *,
        model: str,
        api: Api | None = None,
        message: str | Sequence[Mapping[str, Any]] | None = None,
        message_id: str | None = None,
        tools: Sequence[Any] = (),
        on_busy: OnBusy = "steer",
        on_break: OnBreak = "end",
        attempts: int = 3,
        dialect: DialectName | None = None,
        max_steps: int = 50,
        max_parallel: int = 8,
        seconds: float | None = None,
        max_tokens: int | None = None,
        policy: PromptPolicy | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Answers a message: adds it, asks the model, records what it says, runs the tools that it calls, and asks
        again, until the model has no more to say. Without a message it goes on with what is to be answered: a message
        that nobody has answered, a turn that was abandoned, a result that came late, a decision about a call.

        `client` is an AsyncOpenAI or an AsyncAnthropic. `api` says how it is asked: "responses", or else by Chat
        Completions or Messages, whichever the client has; a conversation may change between them. `tools` are
        functions, Tools, or entries of a request's `tools`: for the calls of those the turn waits until somebody else
        has answered all of them, or the user says something. The Answer goes on in the background: await it, iterate
        over it, or leave it.

        With a `message_id` that is known it is a retry: it gives what was answered, waits for what is being answered in
        whichever process, and goes on with what has failed. A message is never answered twice.

        `on_busy` says what becomes of a new message while a turn is in hand: `steer`, and the turn's next request has
        it, behind the results of the step in hand; `queue`, and it has a turn of its own after that one; `refuse`, and
        TurnInProgressError is raised; `stop`, and that turn is stopped.

        A stream that breaks in the middle ends the turn as failed; with `on_break="again"` it is asked for again, at
        most `attempts` times in all, and the new answer supersedes the partial one; with `continue` the provider goes
        on with the partial text where it can (its `dialect` is deepseek, moonshot or vllm). What a provider refuses
        before its stream is its client's business. `max_steps` limits the requests, `max_parallel` the tools that run
        at the same time, and `seconds` the time; a turn that comes to such an end has failed, and a retry goes on with
        it. `max_tokens`, `policy` and `dialect` are as in `prompt`; `extra` are further arguments for the provider.
        Raises InvalidInputError.
        """
        asking = checked_asking(
            client,
            api=api,
            model=model,
            tools=tools,
            extra=extra,
            max_steps=max_steps,
            max_parallel=max_parallel,
            seconds=seconds,
            on_break=on_break,
            attempts=attempts,
            dialect=dialect,
        )
        checked_choice(on_busy, "on_busy", OnBusy)
        check_prompt(asking.api, max_tokens, estimated_tokens, policy, dialect)
        if message is None and message_id is not None:
            raise InvalidInputError("message", "is missing: a message_id names one")
        command = None if message is None else self._message(message, message_id)
        self._parts.check_open()
        io = self._session_io(partial(self._answer_prompt, asking.api, dialect, max_tokens, policy))
        return Answer(io, asking, command, on_busy, self._parts.answers)

    def turn(self, turn_id: str | None = None, *, takeover: bool = False) -> HeldTurn:
        """Owns a turn, for a loop of your own:

            async with session.turn() as turn:
                ...

        Inside the block this task, and those that it starts, record, complete and add results as the owner; anybody
        else is refused with TurnInProgressError meanwhile, in any process. It is the turn of the message `turn_id`, or
        the one whose turn it is. See HeldTurn. `takeover` works as in `record`. Raises InvalidInputError.
        """
        return HeldTurn(self._parts.turn_owner(self._aggregate), self._access.check, turn_id, takeover)

    async def approve(
        self, call_id: str, *, by: str, reason: str = "", step_id: str | None = None, for_turn: bool = False
    ) -> None:
        """Allows a call that waits for a decision: the next `answer` runs its tool. `by` says who decides. `for_turn`:
        calls of this tool need no other decision in the turn. The same decision again changes nothing.

        Raises UnknownToolCallError for a call that waits for none, ToolResultConflictError if it was decided otherwise,
        and InvalidInputError.
        """
        await self._execute(checked_approval(call_id, step_id, True, by, reason, for_turn))

    async def refuse(self, call_id: str, *, by: str, reason: str = "", step_id: str | None = None) -> None:
        """Refuses a call that waits for a decision: the model reads that, with the reason, as its result. Else as
        `approve`."""
        await self._execute(checked_approval(call_id, step_id, False, by, reason, False))

    def record(
        self,
        stream: AsyncIterator[Chunk] | Awaitable[AsyncIterator[Chunk]],
        model: str | None = None,
        *,
        takeover: bool = False,
        detached: bool = False,
    ) -> Recording[Chunk]:
        """Records a provider's stream as one step: of Chat Completions, of the Responses API, or of Anthropic's
        Messages API. The first chunk says which.

        `stream` is an AsyncStream of the openai or the anthropic package, what their `stream` methods give, or any
        async iterator of such chunks or of dicts like them; or the awaitable that makes it
        (`client.chat.completions.create(...)`, without `await`): then the step opens first, and what the provider
        refuses is its end, with status, type and message. Yields each chunk unchanged once its events are durable. See
        Recording for the ways in which it ends. With `detached` the stream is recorded to its end even if the consumer
        leaves, as when a client disconnects; `cancel` stops it.

        Raises TurnInProgressError at the first chunk while another step is being written, or a turn is in somebody
        else's hand, StepClosedError when another
        writer has taken the step over, and whatever the stream raises. A chunk of another API raises InvalidInputError,
        is not recorded, and fails the step: see `completion` for such answers. A stream of the latter two APIs that
        lacks its last event has broken off, and its step has failed.

        A step that a dead process left open is closed as abandoned once its writer's lease has run out. Until then
        recording is refused. With `takeover` the first chunk waits instead, at most for the rest of the lease, and is
        refused only if the other writer shows that it is alive by renewing its lease.
        """
        return Recording(self._parts.recorder(self._step(), stream, model, takeover=takeover, detached=detached))

    def record_exchange(
        self, sent: Sent, stream: AsyncIterator[Chunk] | Awaitable[AsyncIterator[Chunk]], model: str | None = None
    ) -> Recording[Chunk]:
        """Records what a client sends to a provider, and the stream that answers it, for whoever stands between the
        two. What is sent is stored in the append that opens the step: all of it or, where that is refused, nothing.
        The stream is recorded to its end also when its consumer leaves. Else as `record`; raises ToolResultError, too,
        for results that the session has no call for, and InvalidInputError for what cannot be stored."""
        before = commands_of(sent, self._parts.settings.max_message_bytes)
        return Recording(self._parts.recorder(self._step(None, before), stream, model, takeover=False, detached=True))

    async def record_in_background(
        self,
        stream: AsyncIterator[Any] | Awaitable[AsyncIterator[Any]],
        model: str | None = None,
        *,
        takeover: bool = False,
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

    async def record_whole(self, response: Any, model: str | None = None, *, takeover: bool = False) -> str:
        """Records a whole answer as one step, and returns the step's id: what a provider has answered to a request that
        does not stream.

        `response` is a ChatCompletion or a Response of the openai package, a Message of the anthropic package, or a
        dict like them; or the awaitable that gives it. The step is what the stream of the same answer would be, and has
        ended as the provider says. It is stored in one append, unless it is very large. An awaitable is awaited when
        the step is open: what the provider refuses is its end, and is raised. Each call is a step of its own: the same
        answer again is recorded again. Raises TurnInProgressError, and InvalidInputError for what is no answer, or
        still goes on. `takeover` works as in `record`.
        """
        step = self._step()
        await record_whole(step, response, model, takeover=takeover)
        return step.step_id

    async def cancel(self, reason: str = "stopped", *, turn_id: str | None = None) -> bool:
        """Stops the turn: its answer ends as interrupted, in whichever process it is written, its tools are cancelled,
        and the model is not asked again. What was written stays. A turn that waits, or is queued, is stopped where none
        is in hand; with a `turn_id` only that turn.

        Does not wait for the process that answers: that one can write nothing more, learns of it within about a second,
        and closes the provider's stream. Returns False, and records nothing, if there is nothing to stop. Raises
        InvalidInputError.
        """
        await self._access.check()
        ended = await self._aggregate.execute(checked_cancel(reason, turn_id))
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
        owner = owner_of(self._aggregate)
        run = "" if owner is None else owner.run
        await self._execute(replace(checked_tool_result(call_id, content, status, step_id, limit), run=run))

    # Inside

    def _message(self, content: Any, message_id: str | None) -> AddMessage:
        limit = self._parts.settings.max_message_bytes
        return checked_message("user", content, message_id, None, None, None, None, limit)

    def _step(self, place: StepPlace | None = None, before: tuple[Command, ...] = ()) -> StepIO:
        owner = owner_of(self._aggregate)
        place = place or StepPlace("" if owner is None else owner.run)
        return self._parts.step_io(self._aggregate, self._access.check, place, before)

    def _answer_recorder(self, stream: Any, model: str, place: StepPlace) -> StreamRecorder[Any]:
        return self._parts.recorder(self._step(place), stream, model, takeover=False, detached=True)

    def _session_io(self, prompt: Callable[[Projector, bool], Awaitable[Any]]) -> SessionIO:
        return SessionIO(
            session=self,
            home=self._parts.home,
            aggregate=self._aggregate,
            views=self._parts.views,
            latest=LatestTurns(self._parts.views, self.id),
            lease_seconds=self._parts.lease.seconds,
            max_bytes=self._parts.settings.max_message_bytes,
            check=self._access.check,
            owner=partial(self._parts.turn_owner, self._aggregate),
            recorder=self._answer_recorder,
            prompt=prompt,
            follow=self.follow,
            deltas=self.deltas,
        )

    async def _answer_prompt(
        self,
        api: Api,
        dialect: DialectName | None,
        max_tokens: int | None,
        policy: PromptPolicy | None,
        latest: Projector,
        continues: bool,
    ) -> Any:
        policy = policy or DEFAULT_POLICY
        if continues:
            policy = policy.model_copy(update={"broken_off": "continue"})
        if dialect is None and max_tokens is None and policy == DEFAULT_POLICY:
            prompt = await self._parts.prompts.usual_of(latest, api)
            self._parts.observer.prompted(self.id, api, prompt)
            return prompt
        return await self.prompt(api, max_tokens, policy=policy, dialect=dialect)

    async def _execute(self, command: Command) -> int:
        await self._access.check()
        return await self._aggregate.execute(command)
