"""The eventsourcing library used plainly: an aggregate a session, one event a delta, one save an event.

It has no async API, so it is called on as many threads as it has connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from psycopg.conninfo import conninfo_to_dict

from benchmarks.systems import CONNECTIONS, POOL_SECONDS, Conversation, Message, System

T = TypeVar("T")

_SAVED_AT_ONCE = 50  # a save of half a megabyte never returns, in psycopg's pipeline mode


class Chat(Aggregate):
    """A session as the library's tutorial would have it."""

    @event("Started")
    def __init__(self, session_id: UUID) -> None:
        self._id = session_id
        self.messages: list[Message] = []
        self.parts: list[str] = []

    @staticmethod
    def create_id(session_id: UUID) -> UUID:
        """The caller's id."""
        return session_id

    @event("MessageAdded")
    def add_message(self, message: Message) -> None:
        """A whole message."""
        self.messages.append(message)

    @event("TextDelta")
    def add_text(self, text: str) -> None:
        """A piece of the answer."""
        self.parts.append(text)

    @event("AnswerEnded")
    def end_answer(self) -> None:
        """The pieces are a message."""
        self.messages.append({"role": "assistant", "content": "".join(self.parts)})
        self.parts = []


class _Aggregate(Conversation):
    def __init__(self, system: Eventsourcing, session_id: UUID) -> None:
        super().__init__(session_id)
        self._system = system
        self._chat: Chat

    async def create(self) -> None:
        self._chat = Chat(session_id=self.id)
        await self._save(lambda: None)

    async def load(self) -> list[Message]:
        self._chat = await self._system.call(self._system.app.repository.get, self.id)
        return list(self._chat.messages)

    async def put(self, messages: Sequence[Message]) -> None:
        for first in range(0, len(messages), _SAVED_AT_ONCE):
            await self._save(partial(self._add, messages[first : first + _SAVED_AT_ONCE]))

    def _add(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._chat.add_message(message)

    async def put_delta(self, text: str) -> None:
        await self._save(lambda: self._chat.add_text(text))

    async def end_answer(self) -> None:
        await self._save(self._chat.end_answer)

    async def _save(self, change: Callable[[], None]) -> None:
        def changed() -> None:
            change()
            self._system.app.save(self._chat)

        await self._system.call(changed)


class Eventsourcing(System):
    """`Application.save` after each event."""

    name = "eventsourcing"
    per_delta = "its event: one save under a lock on the whole table"
    per_message = "the same"

    async def start(self) -> None:
        self._threads = ThreadPoolExecutor(CONNECTIONS)
        self.app: Application[UUID] = await self.call(lambda: Application(env=_environment(self.url)))

    async def stop(self) -> None:
        await self.call(self.app.close)
        self._threads.shutdown()

    def conversation(self, session_id: UUID) -> Conversation:
        return _Aggregate(self, session_id)

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Calls the library on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


def _environment(url: str) -> dict[str, str]:
    server = conninfo_to_dict(url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(server["dbname"]),
        "POSTGRES_HOST": str(server.get("host", "")),
        "POSTGRES_PORT": str(server.get("port", "5432")),
        "POSTGRES_USER": str(server.get("user", "postgres")),
        "POSTGRES_PASSWORD": str(server.get("password", "none")),
        "POSTGRES_CONNECT_TIMEOUT": f"{POOL_SECONDS:.0f}",
        "POSTGRES_POOL_SIZE": str(CONNECTIONS),
        "POSTGRES_MAX_OVERFLOW": "0",
    }
