"""The bodies of answers: their models, for the description, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from turnlog.domain.values import Frozen, JsonObject, Text
from turnlog.infrastructure.tasks import off_loop
from turnlog.projections.turn import Fault, OpenToolCall, Turn, WaitingToolCall
from turnlog.projections.view import SessionSummary, UnfinishedTurn

_LARGE = 64
"""Turns from which on a view is written on a thread."""


class SessionRef(Frozen):
    """A session that is there now."""

    session_id: UUID


class SessionList(Frozen):
    """A page of sessions, newest activity first. `next_cursor` leads to the next one; null on the last."""

    items: tuple[SessionSummary, ...]
    total: int | None = None
    next_cursor: str | None = None


class AddedMessage(Frozen):
    """The id of the message, and whether it was new: else this was a retry."""

    message_id: str
    is_new: bool


class Stopped(Frozen):
    """Whether there was something to stop."""

    stopped: bool


class Withdrawn(Frozen):
    """Whether there was such a repair."""

    withdrawn: bool


class Recorded(Frozen):
    """The step that was recorded."""

    step_id: str


class TurnPage(Frozen):
    """Turns in their order, the last ones of those asked for. `before` leads to the ones before; null at the first."""

    turns: tuple[Turn, ...]
    before: int | None


class Transcript(Frozen):
    """The conversation as a flat list in the Chat Completions shape, as it was recorded, and what does not fit."""

    messages: list[JsonObject]
    faults: tuple[Fault, ...]


class ToolCalls(Frozen):
    """The calls that somebody has to run now, and those that wait for somebody outside."""

    pending: tuple[OpenToolCall, ...]
    waiting: tuple[OpenToolCall, ...]


class Imported(Frozen):
    """What became of a conversation, or would become of it."""

    session_id: UUID
    became: Literal["new", "extended", "already_there"]
    format: str
    branches: tuple[UUID, ...] = ()


class UnfinishedTurns(Frozen):
    """Turns that somebody has to go on with; one a session, in the order of the sessions' ids."""

    items: tuple[UnfinishedTurn, ...]


class WaitingToolCalls(Frozen):
    """Calls that wait for somebody outside, in the order of the sessions' ids."""

    items: tuple[WaitingToolCall, ...]


class RecordedEventShape(Frozen):
    """An event, with its positions in the session and in the log. `cursor` is what to come back with."""

    cursor: str
    position: int
    log_position: int
    topic: Text
    event: JsonObject


class EventPage(Frozen):
    """Events in their order. `cursor` leads to what follows, also where there is nothing yet."""

    items: tuple[RecordedEventShape, ...]
    cursor: str


class DeltaPage(Frozen):
    """Deltas in their order, each with its cursor. `cursor` leads to what follows, also where there is nothing yet."""

    items: tuple[JsonObject, ...]
    cursor: str


def written(value: Any) -> bytes:
    """The value as JSON in UTF-8. Half a character, which only JSON's escapes can say, is written as such."""
    if isinstance(value, BaseModel):
        return value.model_dump_json().encode()
    try:
        return to_json(value)
    except PydanticSerializationError:
        return json.dumps(value, default=to_jsonable_python).encode()


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as the answer."""
    return Response(written(value), status, dict(headers or {}), "application/json")


async def large_answer(value: Any, size: int, headers: Mapping[str, str] | None = None) -> Response:
    """A value of so many turns or messages as the answer."""
    return Response(await off_loop(size > _LARGE, written, value), 200, dict(headers or {}), "application/json")


def nothing() -> Response:
    """The answer where there is nothing to say."""
    return Response(status_code=204)
