"""The pattern that turnlog replaces: the session is an object that is written back, to Redis whole and to Postgres from
the n-th message on.

Each save touches the session's row, counts the stored messages, inserts those after them, and puts the whole session
as JSON into Redis, with a time to live. A row is not written again, so while an answer grows, Postgres has its first
delta only: the partial answer is in Redis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel
from redis.asyncio import Redis

from benchmarks.systems import CONNECTIONS, POOL_SECONDS, Conversation, Message, System

_TTL_SECONDS = 12 * 3600
_TABLES = """
create table if not exists session (
    id uuid primary key, user_id text, title text, updated_at timestamptz not null default now());
create table if not exists message (
    session_id uuid not null references session on delete cascade, sequence int not null, role text not null,
    content text, tool_calls jsonb, tool_call_id text, created_at timestamptz not null default now(),
    primary key (session_id, sequence));
"""
_INSERT = """
insert into message (session_id, sequence, role, content, tool_calls, tool_call_id) values (%s, %s, %s, %s, %s, %s)
"""
_SELECT = "select role, content, tool_calls, tool_call_id from message where session_id = %s order by sequence"


class StoredMessage(BaseModel):
    """A message as the object has it."""

    role: str
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class StoredSession(BaseModel):
    """The object that is written back."""

    session_id: UUID
    user_id: str = "bench"
    title: str | None = None
    messages: list[StoredMessage] = []


class _WrittenBack(Conversation):
    def __init__(self, system: Replaced, session_id: UUID) -> None:
        super().__init__(session_id)
        self._system = system
        self._object = StoredSession(session_id=session_id)
        self._is_growing = False

    async def create(self) -> None:
        async with self._system.pool.connection() as connection:
            await connection.execute("insert into session (id, user_id) values (%s, 'bench')", (self.id,))
        await self._cache()

    async def load(self) -> list[Message]:
        cached = await self._system.redis.get(self._key)
        self._object = StoredSession.model_validate_json(cached) if cached else await self._from_rows()
        return [message.model_dump(exclude_none=True) for message in self._object.messages]

    async def put(self, messages: Sequence[Message]) -> None:
        self._object.messages += [StoredMessage(**message) for message in messages]
        await self._save()

    async def put_delta(self, text: str) -> None:
        if not self._is_growing:
            self._object.messages.append(StoredMessage(role="assistant", content=""))
            self._is_growing = True
        answer = self._object.messages[-1]
        answer.content = (answer.content or "") + text
        await self._save()

    async def end_answer(self) -> None:
        self._is_growing = False

    @property
    def _key(self) -> str:
        return f"session:{self.id}"

    async def _save(self) -> None:
        async with self._system.pool.connection() as connection:
            await connection.execute("update session set updated_at = now() where id = %s", (self.id,))
            counted = await connection.execute("select count(*) from message where session_id = %s", (self.id,))
            stored = ((await counted.fetchone()) or (0,))[0]
            if new := self._object.messages[stored:]:
                await self._insert(connection, stored, new)
        await self._cache()

    async def _insert(
        self, connection: psycopg.AsyncConnection[Any], first: int, messages: Sequence[StoredMessage]
    ) -> None:
        rows = [
            (self.id, number, each.role, each.content, _json(each.tool_calls), each.tool_call_id)
            for number, each in enumerate(messages, first)
        ]
        async with connection.cursor() as cursor:
            await cursor.executemany(_INSERT, rows)

    async def _cache(self) -> None:
        await self._system.redis.set(self._key, self._object.model_dump_json(), ex=_TTL_SECONDS)

    async def _from_rows(self) -> StoredSession:
        async with self._system.pool.connection() as connection:
            rows = await (await connection.execute(_SELECT, (self.id,))).fetchall()
        names = ("role", "content", "tool_calls", "tool_call_id")
        messages = [StoredMessage(**dict(zip(names, row, strict=True))) for row in rows]
        return StoredSession(session_id=self.id, messages=messages)


class Replaced(System):
    """Whole session as one JSON to Redis, rows from the n-th on after a COUNT."""

    name = "replaced pattern"
    per_delta = "nothing but its first: the partial answer is in Redis, inside the whole session as JSON"
    per_message = "its row, inserted after a COUNT; the whole session as JSON goes to Redis"
    saves_deltas: ClassVar[bool] = False

    async def start(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("set client_min_messages = warning")
            connection.execute(_TABLES)
        self.pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]](
            self.url, min_size=CONNECTIONS, timeout=POOL_SECONDS, open=False
        )
        await self.pool.open(wait=True)
        self.redis: Redis = Redis.from_url(self.ground.redis_url or "")

    async def stop(self) -> None:
        await self.redis.aclose()
        await self.pool.close()

    def conversation(self, session_id: UUID) -> Conversation:
        return _WrittenBack(self, session_id)


def _json(value: Any) -> Jsonb | None:
    return None if value is None else Jsonb(value)
