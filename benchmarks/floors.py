"""The limits of a log with a row an event: psycopg and nothing else, into a table of eventsourcing's shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool

from benchmarks.systems import CONNECTIONS, POOL_SECONDS, Conversation, Message, System

_TABLE = """
create table if not exists events (
    originator_id uuid not null, originator_version bigint not null, topic text, state bytea,
    notification_id bigserial, primary key (originator_id, originator_version));
create unique index if not exists events_notification_id on events (notification_id);
"""
_INSERT = "insert into events (originator_id, originator_version, topic, state) values (%b, %b, %b, %b)"
_COPY = "copy events (originator_id, originator_version, topic, state) from stdin (format binary)"
_TYPES = ("uuid", "int8", "text", "bytea")
_SELECT = "select state from events where originator_id = %b order by originator_version"
_LAST = "select coalesce(max(originator_version), 0) from events where originator_id = %b"
_STEP = "5f2b0f8f0c6c4b4db6a2d8c3f1b7a9e0"
_AT = "2026-01-01T00:00:00.000000Z"

Row = tuple[UUID, int, str, bytes]


class _Rows(Conversation):
    """A row a delta, a row a message."""

    def __init__(self, system: BareInsert, session_id: UUID, version: int = 0) -> None:
        super().__init__(session_id)
        self._system = system
        self._version = version

    async def load(self) -> list[Message]:
        async with self._system.pool.connection() as connection:
            rows = await (await connection.execute(_SELECT, (self.id,), binary=True)).fetchall()
        self._version = len(rows)
        return _folded([row[0] for row in rows])

    async def put(self, messages: Sequence[Message]) -> None:
        rows = [self._row({"message": message}) for message in messages]
        await (self._system.append(rows[0]) if len(rows) == 1 else self._system.copy(rows))

    async def put_delta(self, text: str) -> None:
        await self._system.append(self._row({"step_id": _STEP, "text": text, "at": _AT}))

    async def end_answer(self) -> None:
        await self._system.append(self._row({"step_id": _STEP, "end": "stop", "at": _AT}))

    def _row(self, fields: dict[str, Any]) -> Row:
        self._version += 1
        return self.id, self._version, "text-delta.v1", json.dumps(fields).encode()


class BareInsert(System):
    """One INSERT and one commit an event."""

    name = "bare INSERT"
    per_delta = "its row: one INSERT in its own transaction, on a pool"
    per_message = "the same; several messages by one COPY"
    is_peer: ClassVar[bool] = False

    async def start(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("set client_min_messages = warning")
            connection.execute(_TABLE)
        self.pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]](
            self.url,
            min_size=CONNECTIONS,
            timeout=POOL_SECONDS,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0},
        )
        await self.pool.open(wait=True)

    async def stop(self) -> None:
        await self.pool.close()

    def conversation(self, session_id: UUID) -> Conversation:
        return _Rows(self, session_id)

    async def conversation_at_its_end(self, session_id: UUID) -> Conversation:
        """A handle that can append; next to nothing is read for it."""
        async with self.pool.connection() as connection:
            row = await (await connection.execute(_LAST, (session_id,))).fetchone()
        return _Rows(self, session_id, row[0] if row else 0)

    async def append(self, row: Row) -> None:
        """Returns when the row is durable."""
        async with self.pool.connection() as connection:
            await connection.execute(_INSERT, row)

    async def copy(self, rows: Sequence[Row]) -> None:
        """The same for many rows."""
        async with self.pool.connection() as connection, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                await copy.write_row(row)


class BareGroup(BareInsert):
    """Group commit and nothing else."""

    name = "bare group commit"
    per_delta = "its row, with the rows of all other sessions that wait: one COPY in one transaction"

    async def start(self) -> None:
        await super().start()
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._writer = asyncio.create_task(self._write())

    async def stop(self) -> None:
        self._writer.cancel()
        with suppress(asyncio.CancelledError):
            await self._writer
        await super().stop()

    async def append(self, row: Row) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        self._wake.set()
        await done

    async def _write(self) -> None:
        while await self._wake.wait():
            batch, self._waiting = self._waiting, []
            self._wake.clear()
            rows = [row for row, _ in batch]
            await (self.copy(rows) if len(rows) > 1 else super().append(rows[0]))
            for _, done in batch:
                if not done.done():
                    done.set_result(None)


def _folded(states: Sequence[bytes]) -> list[Message]:
    messages: list[Message] = []
    parts: list[str] = []
    for state in states:
        fields = json.loads(state)
        if "message" in fields:
            messages.append(fields["message"])
        elif "text" in fields:
            parts.append(fields["text"])
        else:
            messages.append({"role": "assistant", "content": "".join(parts)})
            parts = []
    return messages
