"""What every measured system does: keep a conversation, whole messages or delta by delta, and give it back.

The common currency is the Chat Completions message, a dict. A system converts from and to it, and what that costs is
part of what it costs. A delta is text; calls come whole.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from uuid import UUID

from benchmarks.server import Ground

Message = dict[str, Any]

CONNECTIONS = 20
"""Of each system that keeps a pool; as many threads where it has no async API."""
POOL_SECONDS = 600.0
"""A session that waits for a connection is what is measured, not an error."""


class Conversation(ABC):
    """One session, as one process has it."""

    def __init__(self, session_id: UUID) -> None:
        self.id = session_id

    async def create(self) -> None:  # noqa: B027 most have nothing to do here
        """What must be there before the first message."""

    @abstractmethod
    async def load(self) -> list[Message]:
        """Takes the session up as a new request does, and gives its messages; nothing is kept between two calls."""

    @abstractmethod
    async def put(self, messages: Sequence[Message]) -> None:
        """Returns when these whole messages are durable."""

    @abstractmethod
    async def put_delta(self, text: str) -> None:
        """Returns when this piece of the answer is durable; the first one begins the answer."""

    async def end_answer(self) -> None:  # noqa: B027 as above
        """The answer that came in deltas is complete."""

    async def stream(self, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        """Gives each delta of an answer on, once it is durable."""
        async for text in texts:
            await self.put_delta(text)
            yield text
        await self.end_answer()


class Contestant(ABC):
    """What takes part: what it is called, and what it makes durable."""

    name: ClassVar[str]
    per_delta: ClassVar[str]
    """What is durable after each delta, and how it gets there."""
    per_message: ClassVar[str] = ""
    """The same for a whole message."""
    saves_deltas: ClassVar[bool] = True
    """Whether Postgres holds each delta before the next one."""
    is_peer: ClassVar[bool] = True


class System(Contestant):
    """A way of keeping conversations, in a database of its own."""

    def __init__(self, ground: Ground, url: str | None = None) -> None:
        """`url` leads to the same database another way."""
        self.ground = ground
        self.url = url or ground.database(self.name)

    @abstractmethod
    async def start(self) -> None:
        """Makes the tables where there are none, and opens all connections."""

    @abstractmethod
    async def stop(self) -> None:
        """Closes them."""

    @abstractmethod
    def conversation(self, session_id: UUID) -> Conversation:
        """A new handle; nothing is looked up yet."""

    async def fill(self, session_id: UUID, messages: Sequence[Message]) -> None:
        """Sets a session up fast, as if it had been recorded message by message. Never timed."""
        conversation = self.conversation(session_id)
        await conversation.create()
        await conversation.put(messages)


@asynccontextmanager
async def running(kind: type[System], ground: Ground, url: str | None = None) -> AsyncIterator[System]:
    """A started system."""
    system = kind(ground, url)
    await system.start()
    try:
        yield system
    finally:
        await system.stop()


async def create_all(conversations: Sequence[Conversation]) -> None:
    """Creates them, as many at once as there are connections."""
    for first in range(0, len(conversations), CONNECTIONS):
        await asyncio.gather(*(each.create() for each in conversations[first : first + CONNECTIONS]))


def text_of(message: Message) -> str:
    """Its content, where that is text or a list of parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def call_of(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call as the messages have it."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
