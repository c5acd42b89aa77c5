"""What is handed to the group commit. Light to import: the drivers are loaded when a log is opened, not before."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from turnlog.domain.errors import StoreError

if TYPE_CHECKING:
    from turnlog.infrastructure.store.rows import KeyRow, SessionRow


class OvertakenError(StoreError):
    """What an append was decided on is not so: another process has appended, or the log went back. The aggregate
    catches up and decides again; callers never see this. `taken` are the keys of ids that were accepted before."""

    def __init__(self, message: str, taken: frozenset[bytes] = frozenset()) -> None:
        super().__init__(message)
        self.taken = taken


class Lane:
    """A run of appends of one session that were decided one on top of the other. Only the group commit breaks it.

    `past` is the number of the past (see `Past`) in which the store was last seen to hold the event before the run.
    `stored_at` is when one of them was stored last, by the clock of the loop.
    """

    __slots__ = ("broken", "past", "stored_at")

    def __init__(self) -> None:
        self.broken: StoreError | None = None
        self.past = -1
        self.stored_at = -inf


@dataclass(slots=True)
class Past:
    """The past of the log, as far as one writer can tell: the log position and the commit id of its last commit.

    A log can go back, as by a failover or a restore. What comes after a lost event would leave a gap. So each commit
    asks for the commit before it: where that is there, so is all that this writer has stored or read before. Where it
    is not, another past begins, and each lane asks for the event that it rests on.
    """

    number: int = 0
    log_position: int = 0
    commit_id: int = 0

    def stored(self, log_position: int, commit_id: int) -> None:
        """This was committed."""
        self.log_position, self.commit_id = log_position, commit_id

    def is_gone(self) -> None:
        """The last commit is not there."""
        self.number += 1
        self.log_position = self.commit_id = 0


UNDECIDED = Lane()
"""The lane of appends that are not handed over yet. Never broken."""


class Owner(Protocol):
    """Who hands appends over. `id_bytes` is the session's id. `stored_commit_id` is the commit id of its last event
    that is known to be stored, on which the next append rests; 0 for none, and for an event of before commit ids."""

    id_bytes: bytes
    stored_commit_id: int

    def settled(self, append: Any, error: StoreError | None) -> None:
        """Called on the loop, once for each append: it is stored, or has failed with this error."""


class Append:
    """Events of one session that are stored together or not at all, from `position` on.

    There are `count` events, with bodies of `size` bytes. `rows` is topic, body, topic, body, ...: one flat tuple. An
    append is made for every delta, and each object that the garbage collector has to follow costs more than all that is
    done with it. `commit_id` is that of the batch in which it was last sent. `is_patient`: it has fragments only, and
    may wait for those of other streams.
    """

    __slots__ = (
        "commit_id",
        "count",
        "id_bytes",
        "is_patient",
        "keys",
        "lane",
        "owner",
        "position",
        "rows",
        "session",
        "since",
        "size",
    )

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.lane = UNDECIDED
        self.id_bytes = owner.id_bytes
        self.is_patient = False
        self.since = 0.0
        self.commit_id = 0
        self.position = 0
        self.count = 0
        self.rows: tuple[Any, ...] = ()
        self.size = 0
        self.session: SessionRow | None = None
        self.keys: tuple[KeyRow, ...] = ()


@dataclass(slots=True)
class WriterStatistics:
    """How many events were stored so far, in how many commits, and how many could not be."""

    events: int = 0
    commits: int = 0
    failed: int = 0
