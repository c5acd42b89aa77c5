"""A chat in the browser: answers are recorded in the background, and the page shows the log as it grows.

    pip install fastapi uvicorn
    python examples/fastapi_chat.py        # then open http://127.0.0.1:8080

Reload the page in mid-answer, or open it twice: each page goes on from the last event that it has. OPENAI_BASE_URL and
OPENAI_API_KEY choose the provider, OPENAI_MODEL the model. `turnlog provider --pace 0.5` is one that is offline, and
slow enough to be interrupted.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from openai import AsyncOpenAI, OpenAIError
from pydantic import BaseModel

from turnlog import Session, SessionLog, SessionNotFoundError, TurnInProgressError

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
PAGE = Path(__file__).with_name("fastapi_chat.html")


class Question(BaseModel):
    """What the browser sends. A retry has the same `message_id`, and is stored once."""

    text: str
    message_id: str


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """One log and one client for the whole application."""
    async with SessionLog.open() as log, AsyncOpenAI() as client:
        app.state.log, app.state.client = log, client
        yield


app = FastAPI(title="turnlog chat", lifespan=opened)


def current_user() -> str:
    """Who asks. A real application takes this from its login."""
    return "u1"


async def find_session(request: Request, session_id: UUID, user_id: Annotated[str, Depends(current_user)]) -> Session:
    """The session, if it is this user's."""
    log: SessionLog = request.app.state.log
    return await log.session(session_id, user_id)


Mine = Annotated[Session, Depends(find_session)]


@app.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE)


# --8<-- [start:routes]
@app.post("/sessions")
async def start(request: Request, user_id: Annotated[str, Depends(current_user)]) -> dict[str, str]:
    """A new session."""
    log: SessionLog = request.app.state.log
    session = await log.start_session(user_id=user_id)
    return {"session_id": str(session.id)}


@app.post("/sessions/{session_id}/messages", status_code=202)
async def ask(request: Request, session: Mine, question: Question) -> dict[str, str]:
    """Takes a message, and has it answered in the background: whether or not the browser stays."""
    client: AsyncOpenAI = request.app.state.client
    await session.say(question.text, message_id=question.message_id)
    messages = await session.prompt()
    try:
        stream = await client.chat.completions.create(model=MODEL, messages=messages, stream=True)
    except OpenAIError as error:
        raise HTTPException(502, f"the provider: {error}") from error
    return {"step_id": await session.record_in_background(stream, MODEL)}


@app.get("/sessions/{session_id}/events")
async def events(session: Mine, after: int = 0, last_event_id: Annotated[int | None, Header()] = None) -> Any:
    """What happened after a position, and what happens from now on, as server-sent events. A browser that connects
    again says by `Last-Event-ID` what it has."""
    deltas = session.deltas(after=after if last_event_id is None else last_event_id)
    return StreamingResponse((delta.to_sse() async for delta in deltas), media_type="text/event-stream")


@app.post("/sessions/{session_id}/stop")
async def stop(session: Mine) -> dict[str, bool]:
    """Stops the answer that is being written, by whichever process."""
    return {"stopped": await session.cancel("the user pressed stop")}


# --8<-- [end:routes]
@app.exception_handler(SessionNotFoundError)
async def not_found(_request: Request, error: Exception) -> JSONResponse:
    """Unknown, deleted, or somebody else's: one answer for all three."""
    return JSONResponse({"detail": str(error)}, 404)


@app.exception_handler(TurnInProgressError)
async def busy(_request: Request, error: Exception) -> JSONResponse:
    """An answer is being written. The message is in the log, and the next prompt has it."""
    return JSONResponse({"detail": str(error)}, 409)


if __name__ == "__main__":
    # A page that listens never hangs up: on Ctrl-C it is not waited for.
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")), timeout_graceful_shutdown=1)
