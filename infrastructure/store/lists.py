"""The lists of sessions: one line a session, written in the transaction of the events that change it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from turnlog.projections.view import SessionPage, SessionSummary

if TYPE_CHECKING:
    from turnlog.infrastructure.store.threads import Fetch

ID_PAGE_SESSIONS = 1_000


class SessionLists:
    """Every method takes the id of a user, or None for the sessions of all users, and raises StoreError."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def page(self, user_id: str | None, limit: int, offset: int) -> SessionPage:
        """Sessions with the newest activity first, and the total number of the same snapshot."""
        rows = await self._fetch("list_sessions", user_id is None, user_id, limit, offset)
        items = tuple(_summary(row[1:]) for row in rows if row[1] is not None)
        return SessionPage(items=items, total=rows[0][0] if rows else 0)

    async def ids(self, user_id: str | None) -> AsyncIterator[UUID]:
        """The ids of all sessions, in the order of the ids: it stays the same while sessions are appended to."""
        after = UUID(int=0)
        while rows := await self._fetch("session_ids", user_id is None, user_id, after, ID_PAGE_SESSIONS):
            for (session_id,) in rows:
                yield session_id
            after = rows[-1][0]


def _summary(row: Iterable[Any]) -> SessionSummary:
    session_id, user_id, title, started_at, updated_at, version = row
    return SessionSummary(
        session_id=session_id,
        user_id=user_id,
        title=title.decode("utf-8", "surrogatepass") if title is not None else None,
        started_at=started_at,
        updated_at=updated_at,
        version=version,
    )
