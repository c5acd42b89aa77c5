"""Kept views: a row for each closed turn of a session, and a head with all the rest. They are derived from the events
and may be dropped at any time. Rows of another view schema are not read."""

from __future__ import annotations

from uuid import UUID

from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.threads import StoreThreads
from turnlog.projections.projector import VIEW_SCHEMA, Projector

MAX_TURNS = 2**31 - 1


class KeptViews:
    """Every method raises StoreError."""

    def __init__(self, threads: StoreThreads, recorder: BatchRecorder) -> None:
        self._threads = threads
        self._statements = recorder.statements
        self._datastore = recorder.datastore

    async def load(self, session_id: UUID, turns: int | None = None) -> tuple[bytes, list[bytes]] | None:
        """The head of the session's view and its last `turns` pages (None: all), if a view is kept."""
        # One statement, so that head and pages are of one moment: a page that was saved in between would hold events
        # that the head does not know.
        most = MAX_TURNS if turns is None else turns
        rows = await self._threads.fetch("load_kept", session_id, VIEW_SCHEMA, most)
        return (rows[0][1], [body for _, body in rows[1:]]) if rows else None

    async def load_head(self, session_id: UUID) -> bytes | None:
        """The head alone."""
        rows = await self._threads.fetch("load_head", session_id, VIEW_SCHEMA)
        return rows[0][0] if rows else None

    async def save(self, projector: Projector) -> bool:
        """Keeps the head and the pages that changed since they were last kept, unless what is there is newer.

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
            if cursor.rowcount and (pages := projector.numbered_pages(kept["position"])):
                numbers, bodies = [number for number, _ in pages], [page.to_short_json() for _, page in pages]
                cursor.execute(statements["save_pages"], (session_id, numbers, bodies))
            return True

    async def forget(self, session_id: UUID) -> None:
        """Drops the kept view; the next read folds it from the events."""
        await self._threads.run(self._forget, session_id)

    def _forget(self, session_id: UUID) -> None:
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(self._statements["drop_head"], (session_id,))
            cursor.execute(self._statements["drop_pages"], (session_id,))
