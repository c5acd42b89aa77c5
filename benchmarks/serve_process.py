"""A process that serves `benchmarks/serve.py`: the log over HTTP, or a bare server of the same library that sends as
much by itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from benchmarks.served import ready, serve
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.server.router import turnlog_router
from turnlog.infrastructure.settings import Settings

TEXT = "a token or two of it"


def application(job: dict[str, Any]) -> FastAPI:
    """What is served. It says `ready` when it is."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if job["settings"] is not None:
                settings = Settings.model_validate(job["settings"])
                app.state.log = await stack.enter_async_context(SessionLog.open(settings))
            ready()
            yield

    app = FastAPI(lifespan=lifespan)
    if job["settings"] is None:
        app.get("/sessions/{session_id}/deltas")(_bare)
    else:
        app.include_router(turnlog_router(lambda request: request.app.state.log, authenticate=lambda _: SYSTEM))
    return app


async def _bare(request: Request, session_id: str) -> StreamingResponse:
    """So many events from a time on, at a pace. Each says when it was sent."""
    deltas, pace = int(request.query_params["deltas"]), float(request.query_params["pace"])
    start = float(request.query_params["start"])

    async def events() -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        for number in range(deltas):
            await asyncio.sleep(max(0.0, start + number / pace - time.time()))
            said = {"kind": "text", "position": number + 4, "step_id": session_id[:16], "offset": number * len(TEXT)}
            data = json.dumps({**said, "text": TEXT, "sent": time.time()}, separators=(",", ":"))
            yield f"id: {number + 4}-0123456789abcdef\nevent: text\ndata: {data}\n\n"
        yield 'event: end\ndata: {"turn_id": "m", "status": "finished", "reason": ""}\n\n'

    return StreamingResponse(events(), media_type="text/event-stream")


if __name__ == "__main__":
    serve(application)
