"""Kept views: a row for each closed turn of a session, and a head with all the rest. They are derived from the events
and may be dropped at any time. Rows of another view schema are not read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import DictRow

from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.threads import StoreThreads
from turnlog.projections.projector import VIEW_SCHEMA, Projector
from turnlog.projections.turn import Turn

MAX_TURNS = 2**31 - 1
STATEMENT_PAGES, STATEMENT_BYTES = 1_000, 1024 * 1024
"""Pages that are read or written in one statement, and about how many bytes are written in one."""


MARK_EVENTS = 10_000
"""Events after which a head is kept beside later ones, for views of the past."""


class Kept(NamedTuple):
    """A kept view: its head, and its last pages."""

    head: bytes
    pages: list[bytes]


class KeptPages(NamedTuple):
    """Some pages of a kept view. `position` and `closed_turns` are those of its head."""

    position: int
    closed_turns: int
    pages: list[bytes]


class KeptViews:
    """Every method raises StoreError."""

    def __init__(self, threads: StoreThreads, recorder: BatchRecorder) -> None:
        self._threads = threads
        self._statements = recorder.statements
        self._datastore = recorder.datastore

    async def load(self, session_id: UUID, turns: int | None = None) -> Kept | None:
        """The head of the session's view and its last `turns` pages (None: all), if a view is kept. Where they are too
        many for one statement, a page may be newer than the head, or may have gone meanwhile."""
        # One statement for the head and its last pages, so that these are of one moment.
        most = MAX_TURNS if turns is None else turns
        rows = await self._threads.fetch("load_kept", session_id, VIEW_SCHEMA, min(most, STATEMENT_PAGES))
        if not rows:
            return None
        closed, head = rows[0][1:]
        earlier = await self.load_pages(session_id, closed - min(most, closed), closed - STATEMENT_PAGES)
        return Kept(head, earlier + [row[2] for row in rows[1:]])

    async def pages(self, session_id: UUID, first: int, end: int) -> KeptPages | None:
        """The kept pages of these turns, which are few. None if no view is kept."""
        rows = await self._threads.fetch("load_pages_of_head", session_id, VIEW_SCHEMA, first, end)
        if not rows:
            return None
        position, closed, _, _ = rows[0]
        return KeptPages(position, closed, [body for _, _, turn, body in rows if turn is not None])

    async def load_mark(self, session_id: UUID, upto: int) -> bytes | None:
        """The latest head up to this position that is kept: that of the view, or one of before."""
        bounds = (session_id, VIEW_SCHEMA, upto)
        rows = await self._threads.fetch("load_mark", *bounds, *bounds)
        return rows[0][1] if rows else None

    async def load_pages(self, session_id: UUID, first: int, end: int) -> list[bytes]:
        """The kept pages of these turns, of several moments where they are many."""
        pages = list[bytes]()
        for before in range(first, end, STATEMENT_PAGES):
            rows = await self._threads.fetch("load_pages", session_id, before, min(before + STATEMENT_PAGES, end))
            pages += (row[2] for row in rows)
        return pages

    async def save(self, projector: Projector) -> bool:
        """Keeps the head and the pages that changed since they were last kept, unless what is there is newer. It is one
        transaction: whoever has folded much since keeps it in pieces, and each of them is whole.

        False if that needs a page which the projector does not hold: one that was closed or changed since.
        """
        return await self._threads.run(self._save, projector)

    def _save(self, projector: Projector) -> bool:
        statements, session_id = self._statements, projector.session_id
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(statements["lock_head"], (session_id,))
            kept = cursor.fetchone()
            if kept is None or kept["view_schema"] != VIEW_SCHEMA:
                kept = {"view_schema": VIEW_SCHEMA, "position": 0, "closed_turns": 0}
            if kept["position"] >= projector.version:
                return True
            if projector.first_turn and (
                kept["closed_turns"] < projector.first_turn or kept["position"] < projector.reached_back
            ):
                return False
            head = projector.head()
            values = (session_id, VIEW_SCHEMA, head.version, head.closed_turns, head.to_json())
            cursor.execute(statements["save_head"], values)
            if cursor.rowcount:
                if head.version // MARK_EVENTS > kept["position"] // MARK_EVENTS:
                    cursor.execute(statements["save_mark"], (session_id, head.version, VIEW_SCHEMA, values[-1]))
                self._save_pages(cursor, session_id, projector.numbered_pages(kept["position"]))
            return True

    def _save_pages(self, cursor: Cursor[DictRow], session_id: UUID, pages: Sequence[tuple[int, Turn]]) -> None:
        numbers, bodies, size = list[int](), list[bytes](), 0
        for number, page in pages:
            numbers.append(number)
            bodies.append(page.to_short_json())
            size += len(bodies[-1])
            if len(bodies) >= STATEMENT_PAGES or size > STATEMENT_BYTES:
                cursor.execute(self._statements["save_pages"], (session_id, numbers, bodies))
                numbers, bodies, size = [], [], 0
        if bodies:
            cursor.execute(self._statements["save_pages"], (session_id, numbers, bodies))

    async def forget(self, session_id: UUID) -> None:
        """Drops the kept view; the next read folds it from the events."""
        await self._threads.run(self._forget, session_id)

    def _forget(self, session_id: UUID) -> None:
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(self._statements["drop_head"], (session_id,))
            cursor.execute(self._statements["drop_marks"], (session_id,))
            cursor.execute(self._statements["drop_pages"], (session_id,))
