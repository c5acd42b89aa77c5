"""Pydantic AI's agent, its events streamed, with the messages of a run saved as JSON in Postgres after it."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool
from pydantic_ai import Agent, PartDeltaEvent, PartStartEvent
from pydantic_ai.messages import ModelMessagesTypeAdapter, TextPart, TextPartDelta
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from benchmarks.loops.loop import Loop
from benchmarks.loops.tools import TOOLS
from benchmarks.systems import CONNECTIONS, POOL_SECONDS

_TABLE = """
create table if not exists runs (
    conversation uuid, number bigserial, messages json not null, primary key (conversation, number)
)
"""
_LOAD = "select messages::text from runs where conversation = %s order by number"
_SAVE = "insert into runs (conversation, messages) values (%s, %s)"


class PydanticAiLoop(Loop):
    """A row a run, as in the chat application of its documentation."""

    name = "pydantic-ai, messages saved"
    per_delta = "nothing"
    per_message = "nothing: the messages of a turn are one row, after the turn"

    async def start(self) -> None:
        self._pool = AsyncConnectionPool(
            self.url, min_size=CONNECTIONS, max_size=CONNECTIONS, timeout=POOL_SECONDS, open=False
        )
        await self._pool.open(wait=True)
        async with self._pool.connection() as connection:
            await connection.execute(_TABLE)
        self._agent = cache(self._new_agent)

    async def stop(self) -> None:
        await self._pool.close()
        await super().stop()

    def _new_agent(self, model: str) -> Any:
        provider = OpenAIProvider(openai_client=self.client)
        return Agent(OpenAIChatModel(model, provider=provider), tools=list(TOOLS.values()))

    async def answer(self, conversation: UUID, question: str, model: str) -> str:
        history, shown = await self._history(conversation), list[str]()
        async with self._agent(model).run_stream_events(question, message_history=history) as events:
            async for event in events:
                shown.append(_text(event))
        saved = event.result.new_messages_json().decode()
        async with self._pool.connection() as connection:
            await connection.execute(_SAVE, (conversation, saved))
        return "".join(shown)

    async def _history(self, conversation: UUID) -> list[Any]:
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_LOAD, (conversation,))).fetchall()
        return [message for (saved,) in rows for message in ModelMessagesTypeAdapter.validate_json(saved)]

    async def last_answer(self, conversation: UUID) -> str:
        history = await self._history(conversation)
        return "".join(part.content for part in history[-1].parts if isinstance(part, TextPart))


def _text(event: Any) -> str:
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return str(event.part.content)
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return str(event.delta.content_delta)
    return ""
