"""A process that serves `benchmarks/proxy.py`: the recording proxy, or a bare reverse proxy of the same libraries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from benchmarks.served import ready, serve
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.server.proxy.proxy_settings import ProxySettings
from turnlog.infrastructure.server.proxy.router import turnlog_proxy
from turnlog.infrastructure.settings import Settings


def application(job: dict[str, Any]) -> FastAPI:
    """What is served in front of the job's `upstream`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if job["settings"] is not None:
                settings = Settings.model_validate(job["settings"])
                app.state.log = await stack.enter_async_context(SessionLog.open(settings))
            else:
                app.state.client = await stack.enter_async_context(httpx.AsyncClient(timeout=600))
            ready()
            yield

    app = FastAPI(lifespan=lifespan)
    if job["settings"] is not None:
        settings = ProxySettings(upstreams={"openai": job["upstream"]})
        find, who = lambda request: request.app.state.log, lambda _: SYSTEM
        app.include_router(turnlog_proxy(find, authenticate=who, settings=settings))
    else:
        app.add_api_route("/v1/{path:path}", _forward(job["upstream"]), methods=["POST"])
    return app


def _forward(upstream: str) -> Any:
    async def forward(request: Request, path: str) -> StreamingResponse:
        client: httpx.AsyncClient = request.app.state.client
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
        asked = client.build_request("POST", f"{upstream}/{path}", headers=headers, content=await request.body())
        answer = await client.send(asked, stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            finally:
                await answer.aclose()

        kept = {name: value for name, value in answer.headers.items() if name != "transfer-encoding"}
        return StreamingResponse(pieces(), answer.status_code, kept)

    return forward


if __name__ == "__main__":
    serve(application)
