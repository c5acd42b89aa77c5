"""Who answers: recorded streams over loopback, or the provider of the environment."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turnlog.infrastructure.demo.script import Turn
from turnlog.infrastructure.demo.tools import offered
from turnlog.infrastructure.testing.answers import Recorded, Reply, Request, Scripted
from turnlog.infrastructure.testing.provider import FakeProvider

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

RECORDED_PACE = 0.02
"""Seconds before each chunk of a stream whose times were not recorded."""


def is_live() -> bool:
    """Whether the environment names a provider."""
    return bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))


@dataclass(frozen=True, slots=True)
class Answerer:
    """A client and the model to ask. `script` sets what answers a turn; a live provider takes no notice of it.
    `paid` is the number of requests so far, where the provider tells it."""

    client: AsyncOpenAI
    model: str
    base_url: str | None
    script: Callable[[Turn], None]
    paid: Callable[[], int] | None = None

    async def ask(self, messages: list[ChatCompletionMessageParam]) -> AsyncIterator[ChatCompletionChunk]:
        """The stream of a completion. Raises openai.OpenAIError."""
        tools: dict[str, Any] = {} if self.base_url else {"tools": offered()}
        stream: AsyncIterator[ChatCompletionChunk] = await self.client.chat.completions.create(
            model=self.model, messages=messages, stream=True, stream_options={"include_usage": True}, **tools
        )
        return stream


@asynccontextmanager
async def recorded(answers: Sequence[Scripted] | Callable[[Request], Reply]) -> AsyncIterator[Answerer]:
    """Plays recorded streams over HTTP: these answers, and those of the turns that are scripted."""
    async with FakeProvider(answers, pace=RECORDED_PACE) as provider, open_client(provider.base_url) as client:

        def script(turn: Turn) -> None:
            provider.add(*(Recorded(name, delay=turn.delay) for name in turn.streams))

        yield Answerer(client, "recorded", provider.base_url, script, lambda: len(provider.requests))


@asynccontextmanager
async def live(model: str) -> AsyncIterator[Answerer]:
    """Asks the provider of OPENAI_API_KEY and OPENAI_BASE_URL."""
    async with open_client(None) as client:
        yield Answerer(client, model, None, lambda _: None)


@asynccontextmanager
async def open_client(base_url: str | None) -> AsyncIterator[AsyncOpenAI]:
    """openai's client for a provider on loopback, or for the one that the environment names where the URL is None."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient  # noqa: PLC0415 takes a second

    if base_url is None:
        async with AsyncOpenAI(api_key=os.environ.get("OPENAI_API_KEY") or "none") as client:
            yield client
        return
    # A proxy of the environment cannot reach this machine's loopback.
    direct = DefaultAsyncHttpxClient(trust_env=False)
    async with AsyncOpenAI(base_url=base_url, api_key="recorded", http_client=direct, max_retries=0) as client:
        yield client
