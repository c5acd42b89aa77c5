"""The router: all routes, for one log and for those whom `authenticate` knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import check_kind, checked_range
from turnlog.infrastructure.follow.event_streams import EventStreams
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.server import ai_sdk, metrics, reading, recording, sessions, streams, whole_log, writing
from turnlog.infrastructure.server.asking import AnswerChat, Authenticate, Desk
from turnlog.infrastructure.server.client_files import client_files
from turnlog.infrastructure.server.route import route_class
from turnlog.infrastructure.server.routes import Described, Routes

MAX_BODY_BYTES = 32 * 1024 * 1024
ALL_ROUTES: tuple[Routes, ...] = (
    sessions.routes,
    writing.routes,
    reading.routes,
    streams.routes,
    recording.routes,
    whole_log.routes,
    metrics.routes,
    ai_sdk.routes,
)


def described() -> Iterator[tuple[str, Described]]:
    """Every route, with its group."""
    for routes in ALL_ROUTES:
        for one in routes:
            yield routes.tag, one


def turnlog_router(
    log: SessionLog | Callable[[Request], SessionLog],
    *,
    authenticate: Authenticate,
    answer: AnswerChat | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    heartbeat_seconds: float = 15.0,
) -> APIRouter:
    """The log over HTTP, for an application of your own:

        app.include_router(turnlog_router(lambda request: request.app.state.log, authenticate=who), prefix="/log")

    `log` is an open log, or what finds it for a request, where it is opened in the lifespan. `authenticate` is given
    each request and says who asks: a user id, SYSTEM, or None for nobody (401); it may be async. Nothing else of a
    request is read before. A body, or a line of one that streams, has at most `max_body_bytes` (413); a stream on which
    nothing comes says so every `heartbeat_seconds`.

    `turnlog.js`, the client for pages, and its types are served to anybody.
    `answer` asks a model, for the routes of the AI SDK: it is given a session and a Question, and gives what
    `session.answer` gives. Without one they only follow what others answer.

    Errors are problem details (RFC 9457) by themselves; the application need not handle them. Streams end when the
    application is told to, by the router's lifespan. Raises InvalidInputError.
    """
    if not callable(authenticate):
        raise InvalidInputError("authenticate", "is required: a function that says who asks")
    check_kind(log, SessionLog | Callable, "log")
    checked_range(max_body_bytes, "max_body_bytes", 1, 2**40)
    event_streams = EventStreams(heartbeat_seconds=heartbeat_seconds)

    def find(request: Request) -> SessionLog:
        return log if isinstance(log, SessionLog) else log(request)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with event_streams:
            yield

    desk = Desk(find, authenticate, event_streams, max_body_bytes, answer)
    router = APIRouter(route_class=route_class(desk), lifespan=lifespan)
    for routes in ALL_ROUTES:
        routes.join(router)
    router.include_router(client_files())
    return router
