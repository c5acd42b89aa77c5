"""A chat on the log over HTTP: the router gives the page all that it shows, and one route of its own answers.

    pip install "turnlog[embedded,server]"
    python examples/serve_chat.py          # then open the address that it prints

OPENAI_BASE_URL and OPENAI_API_KEY choose the provider; without them a fake one answers. Where the log is empty, the
demo's conversations are put into it.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from pydantic import BaseModel

from turnlog import SessionLog, SessionNotFoundError, turnlog_router
from turnlog.testing import FakeProvider

USER = "demo"
MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
PORT = int(os.environ.get("PORT", "8787"))
TOKEN = os.environ.get("CHAT_TOKEN") or secrets.token_urlsafe(24)
PAGE = Path(__file__).with_name("serve_chat.html")


def who(request: Request) -> str | None:
    """Who asks: whoever has the token that was printed. A real application asks its login."""
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    return USER if hmac.compare_digest(given.encode(), TOKEN.encode()) else None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The log, the client of a provider, and the demo's conversations in a log that is empty."""
    async with AsyncExitStack() as stack:
        app.state.client = await _client(stack)
        app.state.log = log = await stack.enter_async_context(SessionLog.open())
        if os.environ.get("CHAT_DEMO") != "no" and not (await log.list_sessions(USER, limit=1)).items:
            await _play_demo(stack)
        print(f"http://127.0.0.1:{PORT}/#{TOKEN}", flush=True)
        yield


async def _play_demo(stack: AsyncExitStack) -> None:
    """Begins to. It takes some seconds, and asks no provider."""
    command = (sys.executable, "-m", "turnlog", "demo", "--keep", "--sessions", "1")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    away = asyncio.subprocess.DEVNULL
    playing = await asyncio.create_subprocess_exec(*command, env=environment, stdout=away, stderr=away)

    async def end() -> None:
        if playing.returncode is None:
            playing.terminate()
        await playing.wait()

    stack.push_async_callback(end)


async def _client(stack: AsyncExitStack) -> AsyncOpenAI:
    if os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_KEY"):
        return await stack.enter_async_context(AsyncOpenAI())
    fake = await stack.enter_async_context(FakeProvider(pace=0.05))
    direct = DefaultAsyncHttpxClient(trust_env=False)
    return await stack.enter_async_context(AsyncOpenAI(base_url=fake.base_url, api_key="none", http_client=direct))


app = FastAPI(title="turnlog chat", lifespan=lifespan)
app.include_router(turnlog_router(lambda request: request.app.state.log, authenticate=who))


class Question(BaseModel):
    """What the page sends. A retry has the same `message_id`: it is answered once."""

    text: str
    message_id: str


async def current_user(request: Request) -> str:
    """The user. 401 for nobody."""
    user = who(request)
    if user is None:
        raise HTTPException(401)
    return user


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE)


@app.post("/chat/{session_id}", status_code=202)
async def ask(request: Request, session_id: UUID, question: Question, user: str = Depends(current_user)) -> None:
    """Takes a message, and answers it in the background: the page follows the session."""
    session = request.app.state.log.session(session_id, user)
    answer = session.answer(
        request.app.state.client, model=MODEL, message=question.text, message_id=question.message_id
    )
    try:
        await answer.begun()
    except SessionNotFoundError:
        raise HTTPException(404) from None


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, access_log=False, log_level="warning")
