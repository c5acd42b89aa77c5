"""What becomes of a batch that was not stored at the first attempt: each of its appends is stored, or fails with a
reason.

Whatever the driver raises becomes an `Outcome` first, and each outcome leads to the next one, up to the last two:

* Unsent: connect. Where the connection is another one, the lanes that began on something which is gone are broken.
* Connected: insert the batch.
* PositionTaken: read the positions of the batch. What is there, byte for byte, was stored by an attempt whose answer
  was lost; an append whose position holds something else fails with PositionTakenError; the rest is sent again.
* LogPositionTaken: set the sequence of the log positions right, and send the batch again.
* Unreached: send the batch again after a pause, until time is up.
* Refused: try each append alone, so that only the bad one fails.
* Failed, Stored: the appends are told.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never
from uuid import UUID

import psycopg
from eventsourcing.persistence import InterfaceError, OperationalError

from turnlog.domain.errors import AppendRefusedError, StoreError, StoreUnavailableError
from turnlog.infrastructure.store.appends import Append, PositionTakenError, WriterStatistics
from turnlog.infrastructure.store.packing import pack_appends
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.wire import Wire

logger = logging.getLogger("turnlog")

FIRST_BACKOFF = 0.05
LAST_BACKOFF = 1.0
"""Seconds between two attempts to reach Postgres; each pause is twice as long as the one before."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """Nothing of it is under way."""


@dataclass(frozen=True, slots=True)
class Connected:
    """It can be sent: the wire is open, and the log holds what the lanes begin on."""


@dataclass(frozen=True, slots=True)
class PositionTaken:
    """A position in a session was taken: by another process, or by an attempt of which the answer was lost."""


@dataclass(frozen=True, slots=True)
class LogPositionTaken:
    """A log position was taken: the sequence gives out numbers again, where it was not copied with its table."""


@dataclass(frozen=True, slots=True)
class Unreached:
    """There is no answer, and it is not known whether the batch is stored; or a refusal that will pass."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Postgres refused it, or it could not be sent as it is."""

    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It is given up."""

    error: StoreError


@dataclass(frozen=True, slots=True)
class Stored:
    """Postgres has committed it."""


Outcome = Unsent | Connected | PositionTaken | LogPositionTaken | Unreached | Refused | Failed | Stored

UNREACHED = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby that is about to be promoted
    OperationalError,
    InterfaceError,
    OSError,
)
"""What the driver and the library raise when the outcome is not known, or will soon be another one."""


def outcome_of(error: BaseException) -> Outcome:
    """What an error that a batch met says of it."""
    if isinstance(error, psycopg.IntegrityError):
        is_of_log = str(error.diag.constraint_name).endswith("_notification_id_idx")
        return LogPositionTaken() if is_of_log else PositionTaken()
    why = f"Postgres: {error}"
    return Unreached(why) if isinstance(error, UNREACHED) else Refused(why)


class CommitRecovery:
    """Recovers the batches of a group commit. `stored` is told which appends are stored, and `failed` is told of each
    that fails, with the reason in its lane."""

    def __init__(
        self,
        recorder: BatchRecorder,
        wire: Wire,
        retry_seconds: float,
        statistics: WriterStatistics,
        stored: Callable[[Sequence[Append]], None],
        failed: Callable[[Append], None],
    ) -> None:
        self._recorder = recorder
        self._wire = wire
        self._retry_seconds = retry_seconds
        self._statistics = statistics
        self._stored = stored
        self._failed = failed
        self._loop = asyncio.get_running_loop()

    async def recover(self, batch: list[Append], outcome: Outcome, may_be_stored: bool = False) -> None:
        """Brings the batch to its end, one way or the other. `outcome` is how it is so far; `may_be_stored` says that
        the answer to an earlier attempt was lost."""
        # From when they came: whoever has waited for another batch is not kept waiting as long again.
        deadline = max(append.since for append in batch) + self._retry_seconds
        backoff = FIRST_BACKOFF
        try:
            while batch := self._unbroken(batch):
                match outcome:
                    case Unsent():
                        outcome = await self._connect(batch)
                    case Connected():
                        outcome = await self._insert(batch)
                    case PositionTaken() if len(batch) == 1 and not may_be_stored:
                        outcome = Failed(PositionTakenError("position taken"))
                    case PositionTaken():
                        batch, outcome = await self._without_taken(batch)
                    case LogPositionTaken():
                        outcome = await self._mend_log_positions()
                    case Unreached(why) if self._loop.time() >= deadline:
                        outcome = Failed(StoreUnavailableError(why))
                    case Unreached():
                        outcome, may_be_stored = Unsent(), True
                        await asyncio.sleep(backoff)
                        backoff = min(2 * backoff, LAST_BACKOFF)
                    case Refused(why) if len(batch) == 1:
                        outcome = Failed(StoreUnavailableError(why) if may_be_stored else AppendRefusedError(why))
                    case Refused(why):
                        await self._recover_alone(batch, why, may_be_stored)
                        return
                    case Failed(error):
                        self._fail(batch, error)
                        return
                    case Stored():
                        self._stored(batch)
                        return
                    case _:
                        assert_never(outcome)
        except Exception as failure:
            logger.exception("the group commit failed")
            self._fail(batch, AppendRefusedError(str(failure)))

    async def _connect(self, batch: list[Append]) -> Outcome:
        """Connects where there is no connection, and breaks the lanes that begin on what is not there any more.

        A server that has taken the place of another one may lack its last commits. An append after such a gap could
        never be read.
        """
        try:
            if not self._wire.is_open:
                await self._wire.open()
            firsts = {append.lane: append for append in reversed(batch) if append.lane.connection != self._wire.number}
            there = await asyncio.to_thread(self._with_bases, firsts.values()) if firsts else set()
        except UNREACHED as error:
            return outcome_of(error)
        for lane, append in firsts.items():
            if append.position == 1 or append.id_bytes in there:
                lane.connection = self._wire.number
            else:
                lane.broken = lane.broken or PositionTakenError("the event before it is gone")
        return Connected()

    async def _insert(self, batch: list[Append]) -> Outcome:
        try:
            await self._wire.call(pack_appends(batch))
        except Exception as error:  # noqa: BLE001 whatever it is, it says what became of the batch
            return outcome_of(error)
        self._statistics.commits += 1
        return Stored()

    async def _mend_log_positions(self) -> Outcome:
        logger.warning("the sequence of the log positions lags the log, and is set right")
        try:
            await asyncio.to_thread(self._recorder.fetch, "mend_positions")
        except UNREACHED as error:
            return outcome_of(error)
        return Unsent()

    async def _without_taken(self, batch: list[Append]) -> tuple[list[Append], Outcome]:
        """Settles what is stored already and what has lost its position. Returns the rest."""
        try:
            stored = await asyncio.to_thread(self._stored_at, batch)
        except UNREACHED as error:
            return batch, outcome_of(error)
        rest: list[Append] = []
        for append in batch:
            found = stored.get(append.id_bytes, {})
            there = [found.get(append.position + offset) for offset in range(append.count)]
            if there == list(zip(append.rows[::2], append.rows[1::2], strict=True)):
                # The commit had gone through and only its answer was lost.
                self._stored([append])
            elif any(there):
                self._fail([append], PositionTakenError("position taken"))
            else:
                rest.append(append)
        return rest, Unsent()

    async def _recover_alone(self, batch: list[Append], why: str, may_be_stored: bool) -> None:
        logger.warning("Postgres refused a batch of %d appends, each is now tried alone: %s", len(batch), why)
        for append in batch:
            await self.recover([append], Unsent(), may_be_stored)

    # Failing

    def _fail(self, batch: Iterable[Append], error: StoreError) -> None:
        for append in batch:
            append.lane.broken = append.lane.broken or error
            self._failed(append)

    def _unbroken(self, batch: list[Append]) -> list[Append]:
        for append in batch:
            if append.lane.broken:
                self._failed(append)
        return [append for append in batch if not append.lane.broken]

    # On a thread

    def _with_bases(self, appends: Iterable[Append]) -> set[bytes]:
        """The sessions, of these, of which the event before the append is stored."""
        ids = [UUID(bytes=append.id_bytes) for append in appends]
        bases = [append.position - 1 for append in appends]
        return {session_id.bytes for session_id, *_ in self._recorder.fetch("stored_at", ids, bases, bases)}

    def _stored_at(self, batch: list[Append]) -> dict[bytes, dict[int, tuple[str, bytes]]]:
        """By session and position: the topics and bodies that are stored at the positions of the batch."""
        ids = [UUID(bytes=append.id_bytes) for append in batch]
        firsts = [append.position for append in batch]
        lasts = [append.position + append.count - 1 for append in batch]
        stored: dict[bytes, dict[int, tuple[str, bytes]]] = defaultdict(dict)
        for session_id, version, topic, state in self._recorder.fetch("stored_at", ids, firsts, lasts):
            stored[session_id.bytes][version] = (topic, state)
        return stored
