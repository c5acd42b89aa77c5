"""The rows of the store's tables. Only the store and the projections over the whole log know them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class EventRow(NamedTuple):
    """An event as it is stored."""

    log_position: int
    session_id: UUID
    position: int
    topic: str
    state: bytes


class TurnColumns(NamedTuple):
    """What a session's line says of its turns. `status` is how far the latest one is; `unfinished` the turn with an
    owner that somebody has to go on with, and `since` when its owner, or its last one, has begun; None where there is
    no such thing. `waiting_calls` counts the calls that wait for a pending result or for a decision."""

    status: str | None = None
    unfinished: str | None = None
    since: datetime | None = None
    waiting_calls: int = 0


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session's line in the lists, as of `version`. `writer` is the writer of the turn in hand, or else of the open
    step; None where neither is."""

    session_id: UUID
    user_id: str | None
    title: bytes | None
    started_at: datetime
    updated_at: datetime
    version: int
    deleted: bool
    writer: str | None
    turn: TurnColumns


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What was accepted under a client's id. `once`: the id may be accepted once, and an append that brings it again
    fails; else the later value stands."""

    session_id: UUID
    key: bytes
    value: str
    once: bool = False
