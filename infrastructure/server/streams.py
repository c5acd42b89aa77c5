"""Events and deltas: a page, a long poll, or a stream that goes on, as the request says by its `Accept`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Annotated, Any, Literal

from fastapi import Header, Query
from fastapi.responses import Response

from turnlog.domain.recorded import Cursor
from turnlog.infrastructure.follow.event_streams import EventStreams, cursor_of
from turnlog.infrastructure.follow.stream_forms import Follower, StreamForm, item_with_cursor
from turnlog.infrastructure.server import answers
from turnlog.infrastructure.server.asking import Asked, Asking, Mine
from turnlog.infrastructure.server.routes import Routes
from turnlog.infrastructure.server.sending import NDJSON, SSE, StreamedResponse
from turnlog.infrastructure.session import Session

routes = Routes("streams")

MAX_WAIT = 60
_LINES = (NDJSON, "application/jsonl", "application/ndjson")

After = Annotated[
    str, Query(description="A position, or a cursor: what comes after it is wanted. `Last-Event-ID` goes before it.")
]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description="What a browser sends by itself.")]
Accept = Annotated[str, Header(description=f"`{SSE}` or `{NDJSON}` for a stream; else a page of JSON.")]
Until = Annotated[
    Literal["turn", "session"], Query(description="Of a stream: where it ends, with an `end`, and where it goes on.")
]
Limit = Annotated[int, Query(ge=1, le=1_000, description="Of a page: at most so many.")]
Wait = Annotated[
    float, Query(ge=0, le=MAX_WAIT, description="Of a page: so many seconds for the first one, if there is none yet.")
]


def _streams_too() -> Mapping[int, Any]:
    text = {"schema": {"type": "string"}}
    return {200: {"description": "A page, or a stream.", "content": {SSE: text, NDJSON: text}}}


@routes.add("GET", "/sessions/{session_id}/events", gives=answers.EventPage, refuses=(410,), responses=_streams_too())
async def events(
    asking: Asking,
    session: Mine,
    after: After = "",
    last_event_id: LastEventId = None,
    accept: Accept = "",
    until: Until = "turn",
    limit: Limit = 100,
    wait: Wait = 0,
) -> Response:
    """The events after a position, as they are stored: those that are there, or also those to come."""
    form = _form(accept, events=True)
    cursor = cursor_of(last_event_id or after)
    if form is None:
        return await _page(asking, session, StreamForm(events=True), cursor, limit, wait)
    return await _stream(asking, session, form, cursor, until)


@routes.add("GET", "/sessions/{session_id}/deltas", gives=answers.DeltaPage, refuses=(410,), responses=_streams_too())
async def deltas(
    asking: Asking,
    session: Mine,
    after: After = "",
    last_event_id: LastEventId = None,
    accept: Accept = "",
    until: Until = "turn",
    limit: Limit = 100,
    wait: Wait = 0,
) -> Response:
    """The same as deltas: what a client has to be told, with the offset of each fragment in its block."""
    form = _form(accept, events=False)
    cursor = cursor_of(last_event_id or after)
    if form is None:
        return await _page(asking, session, StreamForm(), cursor, limit, wait)
    return await _stream(asking, session, form, cursor, until)


def _form(accept: str, *, events: bool) -> StreamForm | None:
    """The form of the stream that is wanted; None for a page."""
    kinds = [one.partition(";")[0].strip().lower() for one in accept.split(",")]
    wanted = next((kind for kind in kinds if kind == SSE or kind in _LINES), None)
    return None if wanted is None else StreamForm(events=events, lines=wanted != SSE, joined=True)


async def _stream(asking: Asked, session: Session, form: StreamForm, cursor: int | str, until: str) -> Response:
    text = await asking.desk.streams.open(session, cursor, form=form, until_turn_ends=until == "turn")
    return StreamedResponse(text, NDJSON if form.lines else SSE)


async def _page(
    asking: Asked, session: Session, form: StreamForm, cursor: int | str, limit: int, wait: float
) -> Response:
    last = Cursor.of(await session.cursor()).position
    follower = await form.follower(session, cursor, until_turn_ends=False).begun()
    is_there = Cursor.of(cursor).position < last
    found = list[str]()
    if is_there or wait > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if is_there else wait):
                await _gather(asking.desk.streams, follower, found, last, limit)
    await follower.aclose()
    text = f'{{"items":[{",".join(found)}],"cursor":"{follower.cursor or cursor}"}}'
    return Response(text, headers={"Cache-Control": "no-store"}, media_type="application/json")


async def _gather(streams: EventStreams, follower: Follower, found: list[str], last: int, limit: int) -> None:
    """Adds what is there, up to the position `last`, or what is the next to come."""
    async with aclosing(streams.heard(follower)) as heard:
        async for item in heard:
            if item is None:
                continue
            found.append(item_with_cursor(item, follower.cursor))
            if len(found) >= limit or (item.position >= last and not follower.is_ready):
                return
