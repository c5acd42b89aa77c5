"""The recording proxy in front of a fake provider, behind a real server, and the clients that ask through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import anthropic
import httpx
import openai
import pytest
from fastapi import FastAPI, Request

from tests.support.served import served
from turnlog import Principal, Session, SessionLog, StoreUnavailableError
from turnlog.infrastructure.server.proxy.proxy import Proxy
from turnlog.infrastructure.server.proxy.proxy_settings import ProxySettings
from turnlog.infrastructure.server.proxy.router import proxy_router
from turnlog.infrastructure.store.prefixes import Prefixes

KEY = "sk-a-secret-of-the-client-0123456789"
USER = {"x-user": "u1"}


def who(request: Request) -> Principal | None:
    """A user by a header: `Authorization` is for the provider."""
    return request.headers.get("x-user")


@dataclass
class Proxied:
    """A proxy that is served."""

    url: str
    http: httpx.AsyncClient
    proxy: Proxy
    log: SessionLog

    def openai(self, user: str = "u1", **options: Any) -> openai.AsyncOpenAI:
        """A client of OpenAI's, to be closed."""
        http_client = openai.DefaultAsyncHttpxClient(verify=False, trust_env=False)
        given = {"max_retries": 0, "default_headers": {"x-user": user}, "http_client": http_client} | options
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEY, **given)

    def anthropic(self, user: str = "u1", **options: Any) -> anthropic.AsyncAnthropic:
        """A client of Anthropic's, to be closed."""
        http_client = anthropic.DefaultAsyncHttpxClient(verify=False, trust_env=False)
        given = {"max_retries": 0, "default_headers": {"x-user": user}, "http_client": http_client} | options
        return anthropic.AsyncAnthropic(base_url=self.url, api_key=KEY, **given)

    async def sessions(self, user: str = "u1") -> list[Session]:
        """The user's sessions, the oldest first."""
        ids: list[UUID] = [found async for found in self.log.session_ids(user)]
        return [self.log.session(found, user) for found in ids]

    async def only_session(self) -> Session:
        """The one session that there is."""
        (session,) = await self.sessions()
        return session

    async def said(self, session: Session) -> list[tuple[str, Any]]:
        """Who has said what in it."""
        return [(message["role"], message.get("content")) for message in (await session.view()).messages]


@asynccontextmanager
async def proxied(log: SessionLog, address: str, *, limit: int = 2**20, **options: Any) -> AsyncIterator[Proxied]:
    """A proxy in front of the provider at this address."""
    settings = ProxySettings(upstreams={"openai": address, "anthropic": address}, **options)
    proxy = Proxy(settings, limit)
    app = FastAPI()
    app.include_router(proxy_router(log, who, proxy))
    async with served(app) as http:
        yield Proxied(str(http.base_url).rstrip("/"), http, proxy, log)


async def all_of(stream: AsyncIterator[Any]) -> list[Any]:
    """All that comes."""
    return [one async for one in stream]


def texts(chunks: Iterable[Any]) -> str:
    """What the chunks of a chat completion say."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def take_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on Postgres does not answer the proxy."""

    async def down(*_: Any) -> Any:
        raise StoreUnavailableError("Postgres: it is away")

    monkeypatch.setattr(Prefixes, "find", down)
