"""Who answers: recorded streams over loopback, or the provider that the environment names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turnlog.infrastructure.demo.tools import offered
from turnlog.infrastructure.testing import Provider, Stream

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

SCRIPTED = "scripted"
RECORDED_PACE = 0.02
_NO_TIME = 1e-6


def is_live() -> bool:
    """Whether the environment names a provider."""
    return bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))


@dataclass(frozen=True, slots=True)
class Answerer:
    """A client, the model to ask, and for recorded streams `script`, which says what is played next."""

    client: AsyncOpenAI
    model: str
    base_url: str | None
    script: Callable[[Sequence[str]], None]

    async def ask(self, messages: list[ChatCompletionMessageParam]) -> AsyncIterator[ChatCompletionChunk]:
        """The stream of a completion. Raises openai.OpenAIError."""
        tools: dict[str, Any] = {} if self.base_url else {"tools": offered()}
        stream: AsyncIterator[ChatCompletionChunk] = await self.client.chat.completions.create(
            model=self.model, messages=messages, stream=True, stream_options={"include_usage": True}, **tools
        )
        return stream


@asynccontextmanager
async def recorded(streams: Iterable[Stream], pace: float | None, model: str = SCRIPTED) -> AsyncIterator[Answerer]:
    """Plays the streams over HTTP, at their own pace where they have one."""
    with Provider(streams, pace=RECORDED_PACE if pace is None else max(pace, _NO_TIME)) as provider:
        async with open_client(provider.url) as client:
            yield Answerer(client, model, provider.url, provider.script)


@asynccontextmanager
async def live(model: str) -> AsyncIterator[Answerer]:
    """Asks the provider of OPENAI_API_KEY and OPENAI_BASE_URL."""
    async with open_client(None) as client:
        yield Answerer(client, model, None, lambda _: None)


@asynccontextmanager
async def open_client(base_url: str | None) -> AsyncIterator[AsyncOpenAI]:
    """openai's client for a provider on loopback, or (None) for the one that the environment names."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient  # noqa: PLC0415 takes a second

    if base_url is None:
        async with AsyncOpenAI(api_key=os.environ.get("OPENAI_API_KEY") or "none") as client:
            yield client
        return
    # A proxy that the environment names is not for loopback.
    direct = DefaultAsyncHttpxClient(trust_env=False)
    async with AsyncOpenAI(base_url=base_url, api_key="recorded", http_client=direct, max_retries=0) as client:
        yield client
