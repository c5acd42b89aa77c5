"""The peer: the eventsourcing library used plainly. An aggregate a session, one event a delta, one save an event.

It has no async API, so saves go to a thread pool as large as its connection pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from psycopg.conninfo import conninfo_to_dict

from turnlog.infrastructure.bench.workload import Workload

T = TypeVar("T")

CONNECTIONS = 20


class Chat(Aggregate):
    """A session as the library's tutorial would have it."""

    @event("Started")
    def __init__(self) -> None:
        self.parts: list[str] = []

    @event("TextDelta")
    def add_text(self, text: str) -> None:
        """Appends text to the answer."""
        self.parts.append(text)


class Plain:
    """As many sessions as turnlog has, in the library's own table."""

    def __init__(self, url: str, sessions: int, workload: Workload) -> None:
        self._sessions = sessions
        self._workload = workload
        self._threads = ThreadPoolExecutor(CONNECTIONS)
        self._app: Application[UUID] = Application(env=_environment(url))
        self._chats: list[Chat] = []

    async def __aenter__(self) -> Self:
        self._chats = [Chat() for _ in range(self._sessions)]
        await asyncio.gather(*(self._call(self._app.save, chat) for chat in self._chats))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._threads.shutdown()
        self._app.close()

    async def events_per_second(self, seconds: float) -> float:
        """All sessions save delta by delta until the time is over; the saves on their way then count too."""
        began = perf_counter()
        until = began + seconds
        saved = await asyncio.gather(*(self._write(session, until) for session in range(self._sessions)))
        return sum(saved) / (perf_counter() - began)

    async def _write(self, session: int, until: float) -> int:
        saved = 0
        while await self._call(self._save, session, until):
            saved += 1
        return saved

    def _save(self, session: int, until: float) -> bool:
        if perf_counter() >= until:
            return False
        chat = self._chats[session]
        chat.add_text(self._workload.delta(session, len(chat.parts)))
        self._app.save(chat)
        return True

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
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
        "POSTGRES_CONNECT_TIMEOUT": "600",
        "POSTGRES_POOL_SIZE": str(CONNECTIONS),
        "POSTGRES_MAX_OVERFLOW": "0",
    }
