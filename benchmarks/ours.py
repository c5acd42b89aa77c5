"""turnlog itself, through its public API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, ClassVar, cast
from uuid import UUID

from benchmarks.server import Ground
from benchmarks.systems import Conversation, Message, System
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings

USER = "bench"


def settings_of(url: str, ground: Ground) -> Settings:
    """The defaults, on the servers that are measured."""
    return Settings.from_env({"DATABASE_URL": url, "REDIS_URL": ground.redis_url or "none"})


class _Ours(Conversation):
    def __init__(self, log: SessionLog, session_id: UUID) -> None:
        super().__init__(session_id)
        self.session = log.session(session_id, USER)
        self._log = log
        self._step = AsyncExitStack()
        self._answer: Completion | None = None

    async def create(self) -> None:
        self.session = await self._log.start_session(USER, session_id=self.id)

    async def load(self) -> list[Message]:
        return cast("list[Message]", await self._log.session(self.id, USER).prompt())

    async def put(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message["role"] == "assistant":
                await self._answered(message)
            elif message["role"] == "tool":
                await self.session.add_tool_result(message["tool_call_id"], message["content"])
            else:
                await self.session.add_message(message["role"], message["content"])

    async def _answered(self, message: Message) -> None:
        async with self.session.completion("bench") as answer:
            calls = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
            await asyncio.gather(
                answer.text(message["content"]),
                *(answer.tool_call(call_id, each["name"], each["arguments"]) for call_id, each in calls),
            )
            await answer.finish("tool_calls" if calls else "stop")

    async def put_delta(self, text: str) -> None:
        if self._answer is None:
            self._answer = await self._step.enter_async_context(self.session.completion("bench"))
        await self._answer.text(text)

    async def end_answer(self) -> None:
        if self._answer is not None:
            await self._answer.finish()
            await self._step.aclose()
        self._answer = None


class Turnlog(System):
    """Each delta by `completion.text`, which returns when it is durable."""

    name = "turnlog"
    per_delta = "its event, in one transaction with what all other sessions have waiting"
    per_message = "the same"
    is_peer: ClassVar[bool] = False

    async def start(self) -> None:
        self._stack = AsyncExitStack()
        self.log = await self._stack.enter_async_context(SessionLog.open(self.settings()))

    def settings(self) -> Settings:
        """The defaults, on the servers that are measured."""
        return settings_of(self.url, self.ground)

    async def stop(self) -> None:
        await self._stack.aclose()

    def conversation(self, session_id: UUID) -> Conversation:
        return _Ours(self.log, session_id)

    async def fill(self, session_id: UUID, messages: Sequence[Message]) -> None:
        await super().fill(session_id, messages)
        await self.log.session(session_id, USER).view()  # as it was kept all along by those who read it

    async def fill_by_deltas(self, session_id: UUID, turns: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Sets a session up delta by delta: of each turn the question, and the deltas of the answer."""
        session = await self.log.start_session(USER, session_id=session_id)
        for question, deltas in turns:
            await session.say(question)
            async with session.completion("bench") as answer:
                await asyncio.gather(*map(answer.text, deltas))
                await answer.finish()
        await session.view()


class Forgetful(Turnlog):
    """A process that has not read the session before: what it knows of it is in the servers."""

    def settings(self) -> Settings:
        """Nothing is remembered."""
        return super().settings().model_copy(update={"prompt_memory_bytes": 0})


class _Recorded(_Ours):
    async def stream(self, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        async for chunk in self.session.record(_chunks(texts)):
            if text := chunk["choices"][0]["delta"].get("content"):
                yield text


class TurnlogRecord(Turnlog):
    """`session.record` around the provider's stream."""

    name = "turnlog, record()"
    per_delta = "the same, around the provider's stream: a chunk is shown once it is durable"

    def conversation(self, session_id: UUID) -> Conversation:
        return _Recorded(self.log, session_id)


class _RecordedResponse(_Ours):
    async def stream(self, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        async for event in self.session.record(_response_events(texts)):
            if event["type"] == "response.output_text.delta":
                yield event["delta"]


class TurnlogRecordResponses(TurnlogRecord):
    """The same, of the Responses API."""

    name = "turnlog, record() of Responses"

    def conversation(self, session_id: UUID) -> Conversation:
        return _RecordedResponse(self.log, session_id)


class _RecordedMessage(_Ours):
    async def stream(self, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        async for event in self.session.record(_message_events(texts)):
            if event["type"] == "content_block_delta":
                yield event["delta"]["text"]


class TurnlogRecordMessages(TurnlogRecord):
    """The same, of Anthropic's Messages API."""

    name = "turnlog, record() of Messages"

    def conversation(self, session_id: UUID) -> Conversation:
        return _RecordedMessage(self.log, session_id)


class TurnlogWhole(Turnlog):
    """For a comparison with those that save an answer when it is complete."""

    name = "turnlog, whole answers"


async def _chunks(texts: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    """What a provider would send, as fast as it is asked."""
    async for text in texts:
        yield {"choices": [{"index": 0, "delta": {"content": text}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


async def _response_events(texts: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    item: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    at: dict[str, Any] = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    part = {"type": "output_text", "text": "", "annotations": []}
    yield {"type": "response.content_part.added", **at, "part": part}
    async for text in texts:
        yield {"type": "response.output_text.delta", **at, "delta": text, "logprobs": []}
    yield {"type": "response.completed", "response": {"status": "completed", "output": []}}


async def _message_events(texts: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    async for text in texts:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    yield {"type": "message_stop"}
