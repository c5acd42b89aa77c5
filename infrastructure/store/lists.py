"""The lists of sessions: one line a session, written in the transaction of the events that change it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from turnlog.domain.state import Active
from turnlog.domain.turns import TurnStatus
from turnlog.infrastructure.store.encoding import turn_columns
from turnlog.infrastructure.store.list_cursor import Filters, Place, cursor_after
from turnlog.infrastructure.store.list_statements import list_name
from turnlog.projections.view import SessionPage, SessionSummary, UnfinishedTurn

if TYPE_CHECKING:
    from turnlog.infrastructure.store.threads import Fetch

ID_PAGE_SESSIONS = 1_000
COUNTED = 1_000
"""Sessions that are counted where nobody asked for more: this bounds what a page reads."""
_FIRST = datetime.max.replace(tzinfo=UTC)


class SessionLists:
    """Every method takes the id of a user, or None for the sessions of all users, and raises StoreError."""

    def __init__(self, fetch: Fetch, fetch_by_index: Fetch) -> None:
        self._fetch = fetch
        self._fetch_by_index = fetch_by_index

    async def page(
        self, filters: Filters, limit: int, after: Place, offset: int, with_total: bool | None
    ) -> SessionPage:
        """Sessions with the newest activity first, after a place and `offset` more. Their total number is of the same
        snapshot. `with_total`: whether to count them all; None: up to COUNTED, on the first pages.

        Reads the lines of the page and of the offset, and the one after them, and what it counts."""
        statuses = None if filters.statuses is None else sorted(set(filters.statuses))
        count_to = None if with_total else COUNTED if with_total is None and after.at is None else 0
        rows = await self._fetch_by_index(
            list_name(of_user=filters.user_id is not None, by_status=statuses is not None),
            filters.user_id, statuses, _FIRST if after.at is None else after.at, after.session_id, limit + 1, offset,
            None if count_to is None else count_to + (count_to > 0),
        )  # fmt: skip
        found = tuple(_summary(row[1:]) for row in rows if row[1] is not None)
        items = found[:limit]
        counted: int = rows[0][0]
        return SessionPage(
            items=items,
            total=counted if count_to is None or 0 < count_to >= counted else None,
            next_cursor=cursor_after(items[-1], filters) if len(found) > limit else None,
        )

    async def ids(self, user_id: str | None) -> AsyncIterator[UUID]:
        """The ids of all sessions, in the order of the ids: it stays the same while sessions are appended to."""
        after = UUID(int=0)
        name, whose = ("session_ids", ()) if user_id is None else ("session_ids_of_user", (user_id,))
        while rows := await self._fetch_by_index(name, *whose, after, ID_PAGE_SESSIONS):
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
