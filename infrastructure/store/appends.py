"""What is handed to the group commit. Light to import: the drivers are loaded when a log is opened, not before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from turnlog.domain.errors import StoreError

if TYPE_CHECKING:
    from turnlog.infrastructure.store.rows import KeyRow, SessionRow


class PositionTakenError(StoreError):
    """Another process took the position. The aggregate catches up and decides again; callers never see this."""


class Lane:
    """A run of appends of one session that were decided one on top of the other. Only the group commit breaks it.

    `connection` is the number of the connection on which the store was last seen to hold the event before the run.
    """

    __slots__ = ("broken", "connection")

    def __init__(self, connection: int = 0) -> None:
        self.broken: StoreError | None = None
        self.connection = connection


UNDECIDED = Lane()
"""The lane of appends that are not handed over yet. Never broken."""


class Owner(Protocol):
    """Who hands appends over. `id_bytes` is the session's id."""

    id_bytes: bytes

    def settled(self, append: Any, error: StoreError | None) -> None:
        """Called on the loop, once for each append: it is stored, or has failed with this error."""


class Append:
    """Events of one session that are stored together or not at all, from `position` on.

    There are `count` events, with bodies of `size` bytes. `rows` is topic, body, topic, body, ...: one flat tuple. An
    append is made for every delta, and each object that the garbage collector has to follow costs more than all that is
    done with it.
    """

    __slots__ = ("count", "id_bytes", "keys", "lane", "owner", "position", "rows", "session", "since", "size")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.lane = UNDECIDED
        self.id_bytes = owner.id_bytes
        self.since = 0.0
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
