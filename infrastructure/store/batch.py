"""What is handed to the writer. Light to import: the drivers are loaded when a log is opened, not before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from turnlog.domain.errors import StoreError


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session's line in the lists, as of `version`."""

    session_id: UUID
    user_id: str | None
    title: bytes | None
    started_at: datetime
    updated_at: datetime
    version: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What was accepted under a client's id."""

    session_id: UUID
    key: bytes
    value: str


class PositionTakenError(StoreError):
    """Another writer took the position. The aggregate catches up and decides again; callers never see this."""


class Lane:
    """A run of appends that were decided one on top of the other (see `writer`). Only the writer thread breaks it."""

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken: StoreError | None = None


class Owner(Protocol):
    """Who handed an append over."""

    def settled(self, append: Append, error: StoreError | None) -> None:
        """Called on the loop, once: stored, or failed with this error."""


Row = tuple[str, bytes]
"""The topic and the body of an event."""


class Append:
    """Events of one session that are stored together or not at all, from `position` on.

    One is made for every delta: plain slots, and no event, keep the garbage collector out of the hot path.
    """

    __slots__ = ("entry", "keys", "lane", "owner", "position", "rows", "session", "session_id", "size")

    def __init__(self, owner: Owner, entry: Any, lane: Lane, session_id: UUID, position: int, rows: list[Row]) -> None:
        self.owner = owner
        self.entry = entry
        self.lane = lane
        self.session_id = session_id
        self.position = position
        self.rows = rows
        self.session: SessionRow | None = None
        self.keys: list[KeyRow] | None = None
        self.size = sum([len(body) for _, body in rows])
