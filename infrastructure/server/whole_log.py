"""What is asked of the log and not of one session: imports, usage, and the turns and calls that wait."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response

from turnlog.domain.turns import TurnStatus
from turnlog.infrastructure.repair.importing import Conversation, ImportReport
from turnlog.infrastructure.server import answers, bodies
from turnlog.infrastructure.server.answers import answer
from turnlog.infrastructure.server.asking import Asking, Key
from turnlog.infrastructure.server.keys import session_id_for
from turnlog.infrastructure.server.lines import body_lines, check_kind
from turnlog.infrastructure.server.routes import Routes
from turnlog.infrastructure.server.sending import NDJSON
from turnlog.projections.usage_report import DIMENSIONS, Dimension, UsageReport

routes = Routes("log")

_LINES = {
    "requestBody": {
        "required": True,
        "description": "The lines of an export in the format `turnlog`.",
        "content": {NDJSON: {"schema": {"type": "string"}}},
    }
}
_Limit = Annotated[int, Query(ge=1, le=100)]
_AfterSession = Annotated[str | None, Query(description="The last session of the page before.")]


@routes.add(
    "POST", "/import", gives=answers.Imported, refuses=(403, 404, 409), key="the id of a new session follows from it"
)
async def import_conversation(asking: Asking, body: bodies.NewImport, key: Key = None) -> Response:
    """Imports a conversation of another system; a dry run says what would become of it."""
    session_id = body.session_id
    if session_id is not None and not asking.is_system:
        await asking.log.session(session_id, asking.principal)  # an id is the log's to give: theirs is there already
    conversation = Conversation(
        messages=body.messages,
        user_id=asking.owner(body.user_id),
        session_id=session_id or session_id_for(asking.principal, key, "import"),
        format=body.format,  # type: ignore[arg-type]  # it is checked there
        title=body.title,
        branches=body.branches,
    )
    return _reported(await asking.log.import_conversation(conversation, body.dry_run))


@routes.add("POST", "/import/exported", gives=answers.Imported, refuses=(403, 409, 415), openapi_extra=_LINES)
async def import_exported(
    request: Request, asking: Asking, user_id: str | None = None, dry_run: bool = False
) -> Response:
    """Takes back an exported session with its ids. For the system alone. The same again changes nothing."""
    asking.check_system()
    check_kind(request)
    lines = body_lines(request, asking.desk.max_body_bytes)
    return _reported(await asking.log.import_exported(lines, user_id, dry_run))


def _reported(report: ImportReport) -> Response:
    return answer(answers.Imported(**dataclasses.asdict(report)))


@routes.add("GET", "/usage", gives=UsageReport)
async def usage(
    asking: Asking,
    model: str | None = None,
    since: Annotated[date | None, Query(description="The first day, in UTC.")] = None,
    until: Annotated[date | None, Query(description="The last day.")] = None,
    by: Annotated[
        list[Dimension] | None, Query(description="What the rows tell apart: all, where none is named.")
    ] = None,
    catch_up: Annotated[bool, Query(description="Count what is new first.")] = True,
) -> Response:
    """What was used, by user, model and day."""
    return answer(
        await asking.log.usage(
            asking.principal, model=model, since=since, until=until, by=by or DIMENSIONS, catch_up=catch_up
        )
    )


@routes.add("GET", "/unfinished-turns", gives=answers.UnfinishedTurns)
async def unfinished_turns(
    asking: Asking,
    limit: _Limit = 100,
    after: _AfterSession = None,
    status: Annotated[list[TurnStatus] | None, Query()] = None,
) -> Response:
    """The turns that somebody has to go on with."""
    found = await asking.log.unfinished_turns(asking.principal, limit=limit, after=after, status=status)
    return answer(answers.UnfinishedTurns(items=found))


@routes.add("GET", "/waiting-tool-calls", gives=answers.WaitingToolCalls)
async def waiting_tool_calls(asking: Asking, limit: _Limit = 100, after: _AfterSession = None) -> Response:
    """The calls that wait for somebody outside: for a result, or for a decision."""
    found = await asking.log.waiting_tool_calls(asking.principal, limit=limit, after=after)
    return answer(answers.WaitingToolCalls(items=found))
