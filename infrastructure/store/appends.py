"""What is handed to the group commit. Light to import: the drivers are loaded when a log is opened, not before."""

from __future__ import annotations

from dataclasses import dataclass
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
    """A run of appends of one session that were decided one on top of the other. Only the group commit breaks it."""

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken: StoreError | None = None


UNDECIDED = Lane()
"""The lane of appends that are not handed over yet. Never broken."""


class Owner(Protocol):
    """Who hands appends over. `id_bytes` is the session's id. `stored_commit_id` is the commit id of its last event
    that is known to be stored, on which the next append rests; 0 for none, and for an event of before commit ids."""

    id_bytes: bytes

    @property
    def stored_commit_id(self) -> int: ...

    def settled(self, append: Any, error: StoreError | None) -> None:
        """Called on the loop, once for each append: it is stored, or has failed with this error."""


class Append:
    """Events of one session that are stored together or not at all, from `position` on.

    There are `count` events, with bodies of `size` bytes. `rows` is topic, body, topic, body, ...: one flat tuple. An
    append is made for every delta, and each object that the garbage collector has to follow costs more than all that is
    done with it. `commit_id` is that of the batch in which it was last sent.
    """

    __slots__ = (
        "commit_id",
        "count",
        "id_bytes",
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
    """How many events were stored so far, in how many commits."""

    events: int = 0
    commits: int = 0
