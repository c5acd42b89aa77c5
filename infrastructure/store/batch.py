"""What is handed to the writer. Light to import: the drivers are loaded when a log is opened, not before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from turnlog.domain.errors import StoreError

if TYPE_CHECKING:
    from eventsourcing.persistence import StoredEvent


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
    """See the module. Only the writer thread breaks it."""

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken: StoreError | None = None


Settle = Callable[["Append", StoreError | None], None]


@dataclass(slots=True, eq=False)
class Append:
    """Events of one session that are stored together or not at all. `settle` is called on the loop, once."""

    lane: Lane
    events: Sequence[StoredEvent]
    settle: Settle
    session: SessionRow | None = None
    keys: tuple[KeyRow, ...] = ()
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(len(event.state) for event in self.events)

    @property
    def session_id(self) -> UUID:
        return self.events[0].originator_id  # type: ignore[return-value]
