"""What is read of a session: views, turns, prompts, the past, exports. Streams are in `streams`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header, Query
from fastapi.responses import Response

from turnlog.domain.recorded import Cursor
from turnlog.infrastructure.repair.exporting import ExportFormat
from turnlog.infrastructure.server import answers
from turnlog.infrastructure.server.answers import answer, large_answer
from turnlog.infrastructure.server.asking import Asking, Mine
from turnlog.infrastructure.server.routes import Routes
from turnlog.infrastructure.server.sending import NDJSON, StreamedResponse
from turnlog.infrastructure.session import Session
from turnlog.projections.projector import VIEW_SCHEMA
from turnlog.projections.prompt import Api, DialectName
from turnlog.projections.prompt.explain import Explanation
from turnlog.projections.view import SessionView

routes = Routes("reading")

Seen = Annotated[
    str | None,
    Header(alias="If-None-Match", description="The `ETag` of what is there already: 304 if nothing has changed."),
]
_CACHING = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
_NOT_MODIFIED = {304: {"description": "Nothing has changed."}}


@routes.add("GET", "/sessions/{session_id}", gives=SessionView, responses=_NOT_MODIFIED)
async def view(session: Mine, seen: Seen = None) -> Response:
    """The session as it is now."""
    if unchanged := await _unchanged(session, seen):
        return unchanged
    found = await session.view()
    return await large_answer(found, len(found.turns), await _headers(session, found.version))


@routes.add("GET", "/sessions/{session_id}/turns", gives=answers.TurnPage, responses=_NOT_MODIFIED)
async def turns(
    session: Mine,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[int | None, Query(ge=0, description="Only turns before this index.")] = None,
    seen: Seen = None,
) -> Response:
    """The last turns, or those before one."""
    if unchanged := await _unchanged(session, seen):
        return unchanged
    cursor = await session.cursor()
    found = await session.turns(before, limit)
    page = answers.TurnPage(turns=tuple(found), before=found[0].index if found and found[0].index else None)
    return await large_answer(page, len(found), await _headers(session, Cursor.of(cursor).position))


async def _unchanged(session: Session, seen: str | None) -> Response | None:
    """The answer to somebody who has what is there, for whom nothing is folded."""
    if seen is None:
        return None
    tag = _tag(await session.cursor())
    if tag not in (one.strip().removeprefix("W/") for one in seen.split(",")):
        return None
    return Response(status_code=304, headers={**_CACHING, "ETag": tag})


async def _headers(session: Session, version: int) -> dict[str, str]:
    # A session that has moved on meanwhile has no tag for this answer: whoever asks again gets the next one anyway.
    cursor = await session.cursor()
    return _CACHING | ({"ETag": _tag(cursor)} if Cursor.of(cursor).position == version else {})


def _tag(cursor: str) -> str:
    return f'"{VIEW_SCHEMA}-{cursor}"'


@routes.add("GET", "/sessions/{session_id}/messages", gives=answers.Transcript)
async def messages(session: Mine) -> Response:
    """The conversation as a flat list of messages, as it was recorded."""
    found = await session.view()
    return await large_answer(answers.Transcript(messages=found.messages, faults=found.faults), len(found.turns))


@routes.add("GET", "/sessions/{session_id}/tool-calls", gives=answers.ToolCalls)
async def tool_calls(session: Mine) -> Response:
    """The calls that have to be run now, and those that wait for somebody outside."""
    found = await session.view()
    return answer(answers.ToolCalls(pending=found.pending_tool_calls, waiting=found.waiting_tool_calls))


@routes.add("GET", "/sessions/{session_id}/versions/{version}", gives=SessionView)
async def at(session: Mine, version: int) -> Response:
    """The session as it was after the event at a position."""
    found = await session.at(version)
    return await large_answer(found, len(found.turns))


@routes.add("GET", "/sessions/{session_id}/versions/{version}/prompt", gives=Any)
async def prompt_at(session: Mine, version: int, api: Api = "chat", dialect: DialectName | None = None) -> Response:
    """What would have been sent after the event at a position."""
    found: Any = await session.prompt_at(version, api, dialect)
    return await large_answer(found, len(found))


@routes.add("GET", "/sessions/{session_id}/prompt", gives=Any)
async def prompt(
    session: Mine,
    api: Api = "chat",
    dialect: DialectName | None = None,
    max_tokens: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Response:
    """What to send to the provider next."""
    found: Any = await session.prompt(api, max_tokens, dialect=dialect)
    return await large_answer(found, len(found))


@routes.add("GET", "/sessions/{session_id}/prompt/explanation", gives=Explanation)
async def explain_prompt(session: Mine, api: Api = "chat", dialect: DialectName | None = None) -> Response:
    """Which events each message of the prompt comes from. Reads all events."""
    return answer(await session.explain_prompt(api, dialect))


@routes.add(
    "GET",
    "/sessions/{session_id}/export",
    responses={200: {"description": "Lines of JSON.", "content": {NDJSON: {"schema": {"type": "string"}}}}},
)
async def export(
    asking: Asking, session_id: str, export_format: Annotated[ExportFormat, Query(alias="format")] = "turnlog"
) -> Response:
    """The session as lines of JSON, for turnlog itself or for others."""
    lines = asking.log.export_session(session_id, asking.principal, export_format)
    first = await anext(lines)  # what is refused is refused before there is a byte
    return StreamedResponse(_rows(first, lines), NDJSON)


async def _rows(first: str, lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    yield _row(first)
    async for line in lines:
        yield _row(line)


def _row(line: str) -> bytes:
    return line.encode("utf-8", "surrogatepass") + b"\n"
