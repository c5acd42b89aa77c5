"""langchain-postgres' PostgresChatMessageHistory, on connections of a pool.

It has no update. A delta is added as an AIMessageChunk, and the reader adds the chunks up: its cheapest way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessageChunk, convert_to_openai_messages, message_chunk_to_message
from langchain_postgres import PostgresChatMessageHistory
from psycopg_pool import AsyncConnectionPool

from benchmarks.peers.langchain_messages import to_langchain
from benchmarks.systems import CONNECTIONS, POOL_SECONDS, Conversation, Message, System

_TABLE = "chat_history"
_RUN = "run-1"


class _History(Conversation):
    def __init__(self, system: Langchain, session_id: UUID) -> None:
        super().__init__(session_id)
        self._system = system

    async def load(self) -> list[Message]:
        async with self._system.history(self.id) as history:
            messages = await history.aget_messages()
        loaded: list[Message] = convert_to_openai_messages(_joined(messages))
        return loaded

    async def put(self, messages: Sequence[Message]) -> None:
        await self._add([to_langchain(message, _RUN) for message in messages])

    async def put_delta(self, text: str) -> None:
        await self._add([AIMessageChunk(content=text, id=_RUN)])

    async def _add(self, messages: list[Any]) -> None:
        async with self._system.history(self.id) as history:
            await history.aadd_messages(messages)


class Langchain(System):
    """One history object a call, as its documentation has it."""

    name = "langchain"
    per_delta = "its row: the chunk as JSON with all its empty fields, in a transaction"
    per_message = "its row; several messages in one transaction"

    async def start(self) -> None:
        self._pool = AsyncConnectionPool[Any](self.url, min_size=CONNECTIONS, timeout=POOL_SECONDS, open=False)
        await self._pool.open(wait=True)
        async with self._pool.connection() as connection:
            await connection.execute("set client_min_messages = warning")
            await PostgresChatMessageHistory.acreate_tables(connection, _TABLE)

    async def stop(self) -> None:
        await self._pool.close()

    def conversation(self, session_id: UUID) -> Conversation:
        return _History(self, session_id)

    @asynccontextmanager
    async def history(self, session_id: UUID) -> AsyncIterator[Any]:
        """Of the session, on a connection of the pool."""
        async with self._pool.connection() as connection:
            yield PostgresChatMessageHistory(_TABLE, str(session_id), async_connection=connection)


def _joined(messages: Iterable[Any]) -> list[Any]:
    """Chunks side by side are one answer."""
    joined: list[Any] = []
    for is_chunk, run in groupby(messages, lambda message: isinstance(message, AIMessageChunk)):
        if is_chunk:
            first, *others = run
            joined.append(message_chunk_to_message(first.__add__(others) if others else first))
        else:
            joined += run
    return joined
