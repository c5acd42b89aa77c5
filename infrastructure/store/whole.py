"""Appends that are too large for one statement: all of them are stored, or none.

They go piece by piece in one transaction on a connection of its own, so that neither this process nor Postgres holds
more than one piece, and so that nobody ever sees a part. Until the commit, readers of the whole log stop before them.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg import Connection

from turnlog.domain.errors import AppendRefusedError, StoreUnavailableError
from turnlog.infrastructure.store.appends import Append, OvertakenError, Past
from turnlog.infrastructure.store.commit_recovery import UNREACHED, Overtaken, outcome_of, outcome_of_answer
from turnlog.infrastructure.store.packing import new_commit_id, pack_appends
from turnlog.infrastructure.store.recorder import BatchRecorder


class WholeAppend:
    """A transaction of appends of one session. Leaving the block commits them; an error takes all of them back.

    Raises OvertakenError where an append was decided on what is not so, AppendRefusedError, and StoreUnavailableError:
    then all of it is stored or nothing is.
    """

    def __init__(self, recorder: BatchRecorder, session_id: UUID) -> None:
        self.id_bytes = session_id.bytes
        self.stored_commit_id = 0
        self.commit_id = new_commit_id()
        self._recorder = recorder
        self._last = 0
        self._connection: Connection[Any] | None = None

    def settled(self, append: Append, error: Exception | None) -> None:
        """Nothing waits for a single append of these."""

    async def __aenter__(self) -> Self:
        self._connection = await self._translated(self._recorder.datastore.door.connect)
        await self._translated(self._connection.execute, "begin")
        return self

    async def add(self, append: Append) -> None:
        """Appends the events of a piece. Its owner is this object."""
        append.commit_id = self.commit_id
        parameters = pack_appends([append], self.commit_id, Past())
        answer = await self._translated(self._recorder.call, parameters, self._connection)
        if isinstance(outcome_of_answer(answer), Overtaken):
            raise OvertakenError("what it was decided on is not so")
        self.stored_commit_id = self.commit_id
        self._last = append.position + append.count - 1

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if kind is None:
                await self._commit(connection)
        finally:
            await asyncio.shield(asyncio.to_thread(connection.close))

    async def _commit(self, connection: Connection[Any]) -> None:
        try:
            await self._translated(connection.execute, "commit")
        except StoreUnavailableError:
            # The answer was lost. If the last event is there, so are all.
            session_id, last = UUID(bytes=self.id_bytes), self._last
            at = await self._translated(self._recorder.fetch, "stored_at", [session_id], [last], [last])
            if [row[2] for row in at] != [self.commit_id]:
                raise

    async def _translated(self, function: Any, *args: Any) -> Any:
        """Runs it on a thread, with the store's errors."""
        try:
            return await asyncio.to_thread(function, *args)
        except UNREACHED as error:
            raise StoreUnavailableError(f"Postgres: {error}") from error
        except psycopg.Error as error:
            if isinstance(outcome_of(error), Overtaken):
                raise OvertakenError("what it was decided on is not so") from error
            raise AppendRefusedError(f"Postgres: {error}") from error
