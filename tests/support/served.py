"""The log over HTTP: an application with the router, asked in this process or over a real connection."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import uvicorn
from fastapi import FastAPI, Request

from turnlog import SYSTEM, Principal, SessionLog, turnlog_router
from turnlog.infrastructure.server.router import described

SYSTEMS_TOKEN = "the-system"


def who(request: Request) -> Principal | None:
    """A token is the user's name; one is the system's."""
    token = request.headers.get("authorization", "").removeprefix("Bearer").strip()
    return SYSTEM if token == SYSTEMS_TOKEN else token or None


def as_user(name: str) -> dict[str, str]:
    """The headers of a user, or of nobody."""
    return {"authorization": f"Bearer {name}".strip()}


AS_SYSTEM = as_user(SYSTEMS_TOKEN)


def app_of(log: SessionLog, **options: Any) -> FastAPI:
    """An application that has nothing but the router."""
    app = FastAPI()
    app.include_router(turnlog_router(log, **{"authenticate": who, **options}))
    return app


@asynccontextmanager
async def asked(app: FastAPI, user: str = "u1") -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application in this process. An answer is there when all of it is."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://log", headers=as_user(user)) as client:
        yield client


@asynccontextmanager
async def served(app: FastAPI, user: str = "u1") -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application behind a real server. Streams that are open when the block ends are cut off."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=1, proxy_headers=False
    )
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = asyncio.create_task(server.serve([listening]))
        while not server.started and not running.done():
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=url, headers=as_user(user), timeout=20, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            await running


class Call(NamedTuple):
    """A request that a route's description has as its example."""

    method: str
    path: str
    body: dict[str, Any]
    """Arguments for the client."""

    def on(self, session_id: object) -> tuple[str, str]:
        """Method and path, for this session."""
        return self.method, self.path.format(session_id=session_id, chat_id=session_id, version=1)


def calls(app: FastAPI) -> Iterator[Call]:
    """A call of every route, by its description. Raises KeyError for a route that is not described."""
    schema = app.openapi()
    for _, route in described():
        operation = schema["paths"][route.path][route.method.lower()]
        content = operation.get("requestBody", {}).get("content", {})
        yield Call(route.method, route.path, _body(content, schema))


def _body(content: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for kind, described_body in content.items():
        if kind != "application/json":
            text = described_body.get("example", "")
            return {"content": text, "headers": {"content-type": kind}}
        found = _examples(described_body["schema"], schema)
        return {"json": found[0]}
    return {}


def _examples(shape: dict[str, Any], schema: dict[str, Any]) -> list[Any]:
    if "$ref" in shape:
        return _examples(schema["components"]["schemas"][shape["$ref"].rpartition("/")[2]], schema)
    if "examples" in shape:
        return list(shape["examples"])
    return next(found for one in shape["anyOf"] if (found := _examples(one, schema)))


def sse(text: str) -> list[dict[str, str]]:
    """The events of a text/event-stream, but for comments and the first one, which says when to come back."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line) for block in text.split("\n\n")]
    return [block for block in blocks if "event" in block]


def lines(text: str) -> list[dict[str, Any]]:
    """Lines of JSON."""
    return [json.loads(line) for line in text.splitlines()]
