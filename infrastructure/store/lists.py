"""The lists of sessions: one line a session, written in the transaction of the events that change it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from turnlog.domain.state import Active
from turnlog.domain.turns import TurnStatus
from turnlog.infrastructure.store.encoding import turn_columns
from turnlog.projections.view import SessionPage, SessionSummary, UnfinishedTurn

if TYPE_CHECKING:
    from turnlog.infrastructure.store.threads import Fetch

ID_PAGE_SESSIONS = 1_000


class SessionLists:
    """Every method takes the id of a user, or None for the sessions of all users, and raises StoreError."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def page(
        self, user_id: str | None, limit: int, offset: int, statuses: Sequence[TurnStatus] | None = None
    ) -> SessionPage:
        """Sessions with the newest activity first, and the total number of the same snapshot. `statuses`: only those
        whose latest turn has one of these."""
        whose = (user_id is None, user_id)
        if statuses is None:
            rows = await self._fetch("list_sessions", *whose, limit, offset)
        else:
            rows = await self._fetch("list_by_status", *whose, list(statuses), limit, offset)
        items = tuple(_summary(row[1:]) for row in rows if row[1] is not None)
        return SessionPage(items=items, total=rows[0][0] if rows else 0)

    async def ids(self, user_id: str | None) -> AsyncIterator[UUID]:
        """The ids of all sessions, in the order of the ids: it stays the same while sessions are appended to."""
        after = UUID(int=0)
        while rows := await self._fetch("session_ids", user_id is None, user_id, after, ID_PAGE_SESSIONS):
            for (session_id,) in rows:
                yield session_id
            after = rows[-1][0]

    async def unfinished(
        self, user_id: str | None, statuses: Sequence[TurnStatus], after: UUID, limit: int
    ) -> tuple[UnfinishedTurn, ...]:
        """The next unfinished turns with one of these statuses, in the order of the ids of their sessions, after the
        session `after`."""
        rows = await self._fetch("unfinished_turns", user_id is None, user_id, list(statuses), after, limit)
        return tuple(_unfinished(row) for row in rows)

    async def fill_in(self, state: Active, version: int) -> None:
        """Has the session's line say of its turns what an older version of turnlog has not said. `state` is that at
        the position `version`."""
        await self._fetch("fill_in_line", *turn_columns(state), state.session_id, version)

    async def with_waiting_calls(self, user_id: str | None, after: UUID, limit: int) -> list[UUID]:
        """The next sessions with calls that wait for somebody outside, in the order of their ids after `after`."""
        return [row[0] for row in await self._fetch("waiting_sessions", user_id is None, user_id, after, limit)]


def _summary(row: Iterable[Any]) -> SessionSummary:
    session_id, user_id, title, started_at, updated_at, version, turn_status = row
    return SessionSummary(
        session_id=session_id,
        user_id=user_id,
        title=title.decode("utf-8", "surrogatepass") if title is not None else None,
        started_at=started_at,
        updated_at=updated_at,
        version=version,
        turn_status=turn_status,
    )


def _unfinished(row: Iterable[Any]) -> UnfinishedTurn:
    session_id, user_id, turn_id, status, since, writer, host, pid, expires_at, is_alive = row
    return UnfinishedTurn(
        session_id=session_id,
        user_id=user_id,
        turn_id=turn_id,
        status=status,
        since=since,
        writer=writer,
        host=host,
        pid=pid,
        expires_at=expires_at,
        is_alive=is_alive,
    )
