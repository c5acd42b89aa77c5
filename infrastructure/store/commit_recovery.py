"""What becomes of a batch that was not stored at the first attempt: each of its appends is stored, or fails with a
reason.

Whatever the driver raises becomes an `Outcome` first, and each outcome leads to the next one, up to the last two:

* Unsent: connect.
* Connected: insert the batch.
* PositionTaken, IdTaken, BaseGone: look at what the batch rests on. What is there with the commit id of the batch was
  stored by an attempt whose answer was lost; an append that was decided on what is not so fails with OvertakenError;
  the rest is sent again. If nothing is wrong with any of them, two of them bring one id: each is tried alone.
* LogPositionTaken: set the sequence of the log positions right, and send the batch again.
* Unreached: send the batch again after a pause, until time is up.
* Refused: try each append alone, so that only the bad one fails.
* Failed, Stored: the appends are told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, assert_never
from uuid import UUID

import psycopg
from eventsourcing.persistence import InterfaceError, OperationalError

from turnlog.domain.errors import AppendRefusedError, StoreError, StoreUnavailableError
from turnlog.infrastructure.store.appends import Append, OvertakenError, Past, WriterStatistics
from turnlog.infrastructure.store.packing import pack_appends, resting
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.wire import Wire

logger = logging.getLogger("turnlog")

T = TypeVar("T")

SHORTEST_ATTEMPT = 0.25
"""Seconds that an attempt may take, however late it begins."""
FIRST_BACKOFF = 0.05
LAST_BACKOFF = 1.0
"""Seconds between two attempts to reach Postgres; each pause is twice as long as the one before."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """Nothing of it is under way."""


@dataclass(frozen=True, slots=True)
class Connected:
    """It can be sent: the wire is open."""


@dataclass(frozen=True, slots=True)
class PositionTaken:
    """A position in a session was taken: by another process, or by an attempt of which the answer was lost."""


@dataclass(frozen=True, slots=True)
class IdTaken:
    """An id that may be accepted once was accepted before: by another process, or by an attempt of which the answer was
    lost."""


@dataclass(frozen=True, slots=True)
class BaseGone:
    """The commit before it, or an event that an append rests on, is not there: the log went back, as by a failover or a
    restore."""


@dataclass(frozen=True, slots=True)
class LogPositionTaken:
    """A log position was taken, or one is behind the log: the sequence gives out numbers again, where it was not copied
    with its table."""


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
    """Postgres has committed it; `log_position` is that of its last event."""

    log_position: int


Overtaken = PositionTaken | IdTaken | BaseGone
Outcome = Unsent | Connected | Overtaken | LogPositionTaken | Unreached | Refused | Failed | Stored

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
        constraint = str(error.diag.constraint_name)
        if constraint.endswith("_notification_id_idx"):
            return LogPositionTaken()
        return IdTaken() if constraint == "turnlog_keys_pkey" else PositionTaken()
    # Not what Postgres adds to it: a detail or a context quotes what was sent.
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    why = f"Postgres: {said or error}"
    return Unreached(why) if isinstance(error, UNREACHED) else Refused(why)


def outcome_of_answer(answer: bytes | None) -> Outcome:
    """What the answer of the append function says of a batch (see schema.sql)."""
    match int.from_bytes(answer or b"", signed=True):
        case -1:
            return IdTaken()
        case -2:
            return BaseGone()
        case log_position:
            return Stored(log_position)


class CommitRecovery:
    """Recovers the batches of a group commit. `stored` is told which appends are stored, and `failed` is told of each
    that fails, with the reason in its lane."""

    def __init__(
        self,
        recorder: BatchRecorder,
        wire: Wire,
        retry_seconds: float,
        statistics: WriterStatistics,
        past: Past,
        stored: Callable[[Sequence[Append]], None],
        failed: Callable[[Append], None],
    ) -> None:
        self._recorder = recorder
        self._wire = wire
        self._retry_seconds = retry_seconds
        self._statistics = statistics
        self._past = past
        self._stored = stored
        self._failed = failed
        self._loop = asyncio.get_running_loop()

    async def recover(self, batch: list[Append], outcome: Outcome, may_be_stored: bool = False) -> None:
        """Brings the batch to its end, one way or the other. `outcome` is how it is so far; `may_be_stored` says that
        the answer to an earlier attempt was lost."""
        backoff = FIRST_BACKOFF
        try:
            while batch := self._unbroken(batch):
                match outcome:
                    case Unsent():
                        outcome = await self._connect(batch)
                    case Connected():
                        outcome = await self._insert(batch)
                    case PositionTaken() if len(batch) == 1 and not may_be_stored:
                        outcome = Failed(OvertakenError("position taken"))
                    case PositionTaken() | IdTaken() | BaseGone():
                        if isinstance(outcome, BaseGone):
                            self._past.is_gone()
                        may_be_twice = isinstance(outcome, IdTaken) and len(batch) > 1
                        rest, outcome = await self._without_overtaken(batch)
                        if may_be_twice and len(rest) == len(batch) and isinstance(outcome, Unsent):
                            await self._recover_alone(batch, may_be_stored)
                            return
                        batch = rest
                    case LogPositionTaken():
                        outcome = await self._mend_log_positions(batch)
                    case Unreached(why):
                        batch = self._without_late(batch, why)
                        outcome, may_be_stored = Unsent(), True
                        await asyncio.sleep(backoff if batch else 0)
                        backoff = min(2 * backoff, LAST_BACKOFF)
                    case Refused(why) if len(batch) == 1:
                        outcome = Failed(StoreUnavailableError(why) if may_be_stored else AppendRefusedError(why))
                    case Refused(why):
                        count = len(batch)
                        logger.warning(
                            "Postgres refused a batch of %d appends, each is now tried alone: %s", count, why
                        )
                        await self._recover_alone(batch, may_be_stored)
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

    async def _connect(self, batch: Sequence[Append]) -> Outcome:
        try:
            if not self._wire.is_open:
                self._wire.patience = self._left(batch)
                await self._wire.open()
        except UNREACHED as error:
            return outcome_of(error)
        return Connected()

    async def _insert(self, batch: list[Append]) -> Outcome:
        try:
            self._wire.patience = self._left(batch)
            answer = await self._wire.call(pack_appends(batch, batch[0].commit_id, self._past))
        except Exception as error:  # noqa: BLE001 whatever it is, it says what became of the batch
            return outcome_of(error)
        outcome = outcome_of_answer(answer)
        if isinstance(outcome, Stored):
            self._past.stored(outcome.log_position, batch[0].commit_id)
            self._statistics.commits += 1
        return outcome

    async def _mend_log_positions(self, batch: Sequence[Append]) -> Outcome:
        logger.warning("the sequence of the log positions lags the log, and is set right")
        try:
            await self._read(batch, self._recorder.mend_positions)
        except UNREACHED as error:
            return outcome_of(error)
        return Unsent()

    async def _without_overtaken(self, batch: list[Append]) -> tuple[list[Append], Outcome]:
        """Settles what is stored already and what was decided on something that is not so. Returns the rest."""
        try:
            found = await self._read(batch, self._look, batch)
        except UNREACHED as error:
            return batch, outcome_of(error)
        rest: list[Append] = []
        for append in batch:
            there = {found.commit_ids.get((append.id_bytes, position)) for position in _positions(append)}
            taken = frozenset(row.key for row in append.keys if row.once and (append.id_bytes, row.key) in found.keys)
            if there == {append.commit_id}:
                # The commit had gone through and only its answer was lost.
                self._stored([append])
            elif there != {None}:
                self._fail([append], OvertakenError("position taken"))
            elif append in found.without_base:
                self._fail([append], OvertakenError("the event before it is gone"))
            elif taken:
                self._fail([append], OvertakenError("an id was accepted before", taken))
            else:
                rest.append(append)
        return rest, Unsent()

    async def _recover_alone(self, batch: list[Append], may_be_stored: bool) -> None:
        for append in batch:
            await self.recover([append], Unsent(), may_be_stored)

    # Time

    def _left(self, batch: Sequence[Append]) -> float:
        """Seconds that an attempt may take: until the first of the appends has waited for long enough."""
        first = min(append.since for append in batch)
        return max(first + self._retry_seconds - self._loop.time(), SHORTEST_ATTEMPT)

    def _without_late(self, batch: Sequence[Append], why: str) -> list[Append]:
        """Fails the appends whose time is up. It began when they came, whatever they have waited for. Returns the
        others."""
        now = self._loop.time()
        late = [append for append in batch if now >= append.since + self._retry_seconds]
        if late:
            self._fail(late, StoreUnavailableError(why))
        return [append for append in batch if append not in late]

    async def _read(self, batch: Sequence[Append], function: Callable[..., T], *args: Any) -> T:
        """Calls the function on a thread, as long as an attempt may take."""
        deadline = time.monotonic() + self._left(batch)

        def read() -> T:
            with self._recorder.datastore.until(deadline):
                return function(*args)

        return await asyncio.to_thread(read)

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

    def _look(self, batch: list[Append]) -> _Found:
        ids = [UUID(bytes=append.id_bytes) for append in batch]
        lasts = [append.position + append.count - 1 for append in batch]
        firsts = [append.position for append in batch]
        keys = [(UUID(bytes=append.id_bytes), row.key) for append in batch for row in append.keys if row.once]
        based = resting(batch)
        bases = [append.position - 1 for append in based]
        there = self._recorder.fetch("stored_at", [UUID(bytes=append.id_bytes) for append in based], bases, bases)
        stored = self._recorder.fetch("stored_at", ids, firsts, lasts)
        taken = self._recorder.fetch("taken_keys", [key[0] for key in keys], [key[1] for key in keys]) if keys else []
        base_ids = {session_id.bytes: commit_id for session_id, _, commit_id in there}
        return _Found(
            commit_ids={(session_id.bytes, position): commit_id for session_id, position, commit_id in stored},
            without_base={append for append in based if base_ids.get(append.id_bytes) != append.owner.stored_commit_id},
            keys={(session_id.bytes, key) for session_id, key in taken},
        )


class _Found(NamedTuple):
    """What the log has where a batch goes: commit ids by session and position, the appends that rest on an event which
    is not there, and the keys that were left before."""

    commit_ids: dict[tuple[bytes, int], int]
    without_base: set[Append]
    keys: set[tuple[bytes, bytes]]


def _positions(append: Append) -> range:
    return range(append.position, append.position + append.count)
