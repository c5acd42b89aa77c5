"""What is handed to the writer. Light to import: the drivers are loaded when a log is opened, not before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from turnlog.domain.errors import StoreError


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session's line in the lists, as of `version`. `writer` is who writes the step that is open, if one is."""

    session_id: UUID
    user_id: str | None
    title: bytes | None
    started_at: datetime
    updated_at: datetime
    version: int
    deleted: bool
    writer: str | None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What was accepted under a client's id."""

    session_id: UUID
    key: bytes
    value: str


class PositionTakenError(StoreError):
    """Another writer took the position. The aggregate catches up and decides again; callers never see this."""


class Lane:
    """A run of appends that were decided one on top of the other (see `writer`). Only the writer breaks it.

    `connection` is that on which the store was last seen to hold what the run begins on, by its number.
    """

    __slots__ = ("broken", "connection")

    def __init__(self, connection: int = 0) -> None:
        self.broken: StoreError | None = None
        self.connection = connection


UNDECIDED = Lane()
"""Of appends that are not handed over yet. Never broken."""


class Owner(Protocol):
    """Who handed an append over. `id_bytes` is the session's id."""

    id_bytes: bytes

    def settled(self, append: Any, error: StoreError | None) -> None:
        """Called on the loop, once for each append: stored, or failed with this error."""


class Append:
    """Events of one session that are stored together or not at all, from `position` on.

    `count` events; `rows` is topic, body, topic, body, ...: one flat tuple. An append is made for every delta, and
    each object that the garbage collector has to follow costs more than all that is done with it.
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
