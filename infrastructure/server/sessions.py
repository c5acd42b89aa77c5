"""Sessions: start, list, delete, fork, repair, and whose they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import Response

from turnlog.domain.errors import SessionNotFoundError
from turnlog.domain.turns import TurnStatus
from turnlog.infrastructure.server import answers, bodies
from turnlog.infrastructure.server.answers import answer, nothing
from turnlog.infrastructure.server.asking import Asking, Key, Mine
from turnlog.infrastructure.server.keys import session_id_for
from turnlog.infrastructure.server.routes import Routes
from turnlog.projections.report import RepairReport

routes = Routes("sessions")

_Limit = Annotated[int, Query(ge=1, le=100)]


@routes.add(
    "POST",
    "/sessions",
    gives=answers.SessionRef,
    status=201,
    refuses=(403, 409),
    key="the session's id follows from it",
)
async def start(asking: Asking, key: Key = None, body: bodies.NewSession | None = None) -> Response:
    """Starts a session."""
    wanted = body or bodies.NewSession()
    asking.check_system(wanted.session_id)
    session_id = wanted.session_id or session_id_for(asking.principal, key, "start")
    session = await asking.log.start_session(
        user_id=asking.owner(wanted.user_id), title=wanted.title, metadata=wanted.metadata, session_id=session_id
    )
    return answer(answers.SessionRef(session_id=session.id), 201)


@routes.add("GET", "/sessions", gives=answers.SessionList)
async def listed(
    asking: Asking,
    limit: _Limit = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=200)] = None,
    status: Annotated[list[TurnStatus] | None, Query(description="Only those whose latest turn is so.")] = None,
) -> Response:
    """Lists sessions, newest activity first. `total` is null where there are more than 1,000, and after a cursor."""
    page = await asking.log.list_sessions(asking.principal, limit, status=status, cursor=cursor)
    return answer(answers.SessionList(items=page.items, total=page.total, next_cursor=page.next_cursor))


@routes.add("DELETE", "/sessions/{session_id}", status=204)
async def delete(asking: Asking, session_id: str) -> Response:
    """Deletes a session: it is gone for everybody."""
    if not await asking.log.delete_session(session_id, asking.principal):
        raise SessionNotFoundError(session_id)
    return nothing()


@routes.add("PUT", "/sessions/{session_id}/owner", status=204, refuses=(403, 409))
async def assign_owner(asking: Asking, session_id: str, body: bodies.NewOwner) -> Response:
    """Gives a session that nobody owns to a user. For the system alone."""
    asking.check_system()
    await asking.log.assign_owner(session_id, body.user_id)
    return nothing()


@routes.add(
    "POST",
    "/sessions/{session_id}/fork",
    gives=answers.SessionRef,
    status=201,
    key="the id of the fork follows from it",
)
async def fork(asking: Asking, session: Mine, key: Key = None, body: bodies.NewFork | None = None) -> Response:
    """Copies a session up to a position, as a new one."""
    session_id = session_id_for(asking.principal, key, "fork", str(session.id))
    made = await session.fork(None if body is None else body.version, session_id=session_id)
    return answer(answers.SessionRef(session_id=made.id), 201)


@routes.add("POST", "/sessions/{session_id}/repair", gives=RepairReport)
async def repair(asking: Asking, session_id: str, body: bodies.WantedRepair | None = None) -> Response:
    """Corrects what is wrong with the history; in a dry run it says what that is."""
    return answer(await asking.log.repair(session_id, asking.principal, dry_run=body is not None and body.dry_run))


@routes.add("POST", "/sessions/{session_id}/repair/undo", gives=answers.Withdrawn)
async def undo_repair(asking: Asking, session_id: str, body: bodies.WithdrawnRepair | None = None) -> Response:
    """Withdraws a repair."""
    repair_id = None if body is None else body.repair_id
    return answer(answers.Withdrawn(withdrawn=await asking.log.undo_repair(session_id, asking.principal, repair_id)))
