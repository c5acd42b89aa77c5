"""A chat in the browser: turns are answered in the background, and the page shows the log as it grows.

    pip install fastapi uvicorn
    python examples/fastapi_chat.py        # then open http://127.0.0.1:8080

Reload the page in mid-answer, open it twice, press Stop, say something while it answers, let it buy an umbrella, kill
the server and start it again. OPENAI_BASE_URL and OPENAI_API_KEY choose the provider, OPENAI_MODEL the model.
`turnlog provider --pace 0.5` is one that is offline, and slow enough to be interrupted.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel, Field

from turnlog import (
    Answer,
    EventStreams,
    InvalidInputError,
    Session,
    SessionLog,
    SessionNotFoundError,
    StoreError,
    Tool,
    TurnlogError,
    UnknownPositionError,
)

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
PAGE = Path(__file__).with_name("fastapi_chat.html")


async def get_weather(city: Annotated[str, Field(examples=["Lisbon"])]) -> str:
    """The weather in a city now."""
    await asyncio.sleep(float(os.environ.get("WEATHER_SECONDS", "2")))  # in your program a request
    return f"21 C and clear in {city}"


def roll_dice(count: Annotated[int, Field(ge=1, le=6)]) -> list[int]:
    """Rolls dice."""
    return [random.randint(1, 6) for _ in range(count)]  # noqa: S311 it is a game


def buy_umbrella(colour: Annotated[str, Field(examples=["red"])]) -> str:
    """Buys an umbrella."""
    return f"a {colour} umbrella is on its way"


# A tool that only reads may run again if the process dies while it runs. Dice may not: the model is told. Before
# something is bought the page asks.
TOOLS = [Tool(get_weather, idempotent=True, timeout=30), roll_dice, Tool(buy_umbrella, needs_approval=True)]


# --8<-- [start:lifespan]
@dataclass(frozen=True)
class Parts:
    """What all handlers share."""

    log: SessionLog
    client: AsyncOpenAI
    streams: EventStreams

    def answer(self, session: Session, **message: Any) -> Answer:
        """Answers in the background, whether or not the browser stays."""
        return session.answer(self.client, model=MODEL, tools=TOOLS, **message)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What is opened last is closed first: the streams, then the log with its answers, then the client that it asks."""
    async with AsyncOpenAI() as client, SessionLog.open() as log, EventStreams() as streams:
        app.state.parts = parts = Parts(log, client, streams)
        resuming = asyncio.create_task(log.resume(parts.answer, every=2))  # turns of processes that have died
        yield
        resuming.cancel()


# --8<-- [end:lifespan]
app = FastAPI(title="turnlog chat", lifespan=lifespan)


class Question(BaseModel):
    """What the browser sends. A retry has the same `message_id`: it is the same turn, and paid for once."""

    text: str
    message_id: str
    on_busy: Literal["steer", "queue", "stop"] = "steer"


class Decision(BaseModel):
    """What somebody has decided about a call."""

    step_id: str
    call_id: str
    approved: bool


def current_user() -> str:
    """Who asks. A real application takes this from its login."""
    return "u1"


def get_parts(request: Request) -> Parts:
    """The parts of the running application."""
    parts: Parts = request.app.state.parts
    return parts


User = Annotated[str, Depends(current_user)]
Running = Annotated[Parts, Depends(get_parts)]


async def find_session(parts: Running, session_id: UUID, user_id: User) -> Session:
    """The session, if it is this user's."""
    return await parts.log.session(session_id, user_id)


Mine = Annotated[Session, Depends(find_session)]


@app.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(PAGE)


# --8<-- [start:routes]
@app.post("/sessions")
async def start(parts: Running, user_id: User) -> dict[str, str]:
    """A new session."""
    session = await parts.log.start_session(user_id=user_id)
    return {"session_id": str(session.id)}


@app.post("/sessions/{session_id}/messages", status_code=202)
async def ask(parts: Running, session: Mine, question: Question) -> dict[str, Any]:
    """Takes a message. Once it is durable this returns, and the answer goes on."""
    message = {"message": question.text, "message_id": question.message_id, "on_busy": question.on_busy}
    answer = await parts.answer(session, **message).begun()
    return {"message_id": answer.message_id, "is_new": answer.is_new}


@app.get("/sessions/{session_id}/events")
async def events(
    parts: Running, session: Mine, after: str = "", last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """What happened after an event, and what happens until the turn ends. A browser that connects again says by
    `Last-Event-ID` what it has."""
    text = await parts.streams.open(session, last_event_id or after)
    return StreamingResponse(text, media_type="text/event-stream", headers={"cache-control": "no-store"})


@app.post("/sessions/{session_id}/stop")
async def stop(session: Mine) -> dict[str, bool]:
    """Stops the turn: whichever process answers it, and whether the model speaks or its tools run."""
    return {"stopped": await session.cancel("the user pressed stop")}


@app.post("/sessions/{session_id}/decisions", status_code=202)
async def decide(parts: Running, session: Mine, user_id: User, decision: Decision) -> dict[str, bool]:
    """Allows or refuses a call, and goes on with its turn."""
    decided = session.approve if decision.approved else session.refuse
    await decided(decision.call_id, step_id=decision.step_id, by=user_id)
    parts.answer(session)
    return {"approved": decision.approved}


# --8<-- [end:routes]
STATUS_CODES = {SessionNotFoundError: 404, UnknownPositionError: 410, InvalidInputError: 422, StoreError: 503}
"""Unknown, deleted, or somebody else's: one answer for all three."""


@app.exception_handler(TurnlogError)
async def refused(_request: Request, error: Exception) -> JSONResponse:
    """What the log refuses, in its words."""
    code = next((code for kind, code in STATUS_CODES.items() if isinstance(error, kind)), 409)
    return JSONResponse({"detail": str(error)}, code)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")))
