"""A provider and its client for tests of answers, tools whose ends the test chooses, and what is left in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import openai

from tests.support.openai_client import client_of
from turnlog import Delta, Session, Settings, Turn
from turnlog.testing import Answer, FakeProvider, Request, Scripted, ToolCall

SOON = 10.0
"""Seconds within which something happens on any machine."""
BRIEF_SECONDS = 0.6
"""Seconds of a lease: long enough to be renewed on a busy machine, short enough to wait for."""


def brief(settings: Settings) -> Settings:
    """Settings of a log whose lease runs out soon, and which ends nothing by itself."""
    return settings.model_copy(update={"lease_seconds": BRIEF_SECONDS, "reap_seconds": 0})


@dataclass(frozen=True)
class Model:
    """A fake provider with its client."""

    provider: FakeProvider
    client: openai.AsyncOpenAI

    @property
    def asked(self) -> int:
        """How many requests were paid for."""
        return len(self.provider.requests)

    @property
    def prompts(self) -> list[list[dict[str, Any]]]:
        """The messages of each request."""
        return [request["messages"] for request in self.provider.requests]

    def answer(
        self, session: Session, message: str | None = None, message_id: str | None = None, **options: Any
    ) -> Any:
        """An answer of this model."""
        return session.answer(self.client, model="m", message=message, message_id=message_id, **options)


Answers = Iterable[Scripted] | Callable[[Request], Any] | None


@asynccontextmanager
async def asking(answers: Answers = None, **options: Any) -> AsyncIterator[Model]:
    """A model that answers from a script."""
    async with FakeProvider(answers, **options) as provider, client_of(provider) as client:
        yield Model(provider, client)


def calling(*names: str, **arguments: Any) -> Answer:
    """An answer that calls tools."""
    return Answer(tool_calls=[ToolCall(name, arguments) for name in names])


def slow(text: str = "one two three four five six seven eight nine ten", delay: float = 0.05) -> Answer:
    """An answer that takes its time."""
    return Answer(text, delay=delay)


@dataclass
class Gate:
    """A tool that has begun, and ends when it is told to."""

    result: Any = "done"
    name: str = "wait"
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0
    was_cancelled: bool = False

    @property
    def tool(self) -> Any:
        """The tool."""

        async def run() -> Any:
            self.runs += 1
            self.begun.set()
            try:
                await self.opened.wait()
            except asyncio.CancelledError:
                self.was_cancelled = True
                raise
            return self.result

        run.__name__ = self.name
        return run


async def until(true: Callable[[], Any], seconds: float = SOON) -> None:
    """Waits until this is true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


async def turns_of(session: Session) -> tuple[Turn, ...]:
    """The turns as they are in the view."""
    return (await session.view()).turns


async def statuses(session: Session) -> list[str]:
    """How far each turn is."""
    return [turn.status for turn in await turns_of(session)]


async def told(deltas: AsyncIterator[Delta]) -> list[Delta]:
    """What a follower is told, to its end, which comes soon."""
    async with asyncio.timeout(SOON):
        return [delta async for delta in deltas]


def said(messages: Sequence[Any]) -> list[tuple[str, Any]]:
    """Who said what in a prompt."""
    return [(message["role"], message.get("content")) for message in messages]
