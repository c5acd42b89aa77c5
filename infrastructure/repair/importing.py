"""An import: each message of another system's conversation becomes one event. No message is imported twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pydantic_core import to_json

from turnlog.domain.commands import Command, ImportMessage
from turnlog.domain.decide import MessageTakenError
from turnlog.domain.errors import InvalidInputError
from turnlog.domain.events import MessageImported
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.inputs import checked_foreign, checked_format, checked_start
from turnlog.domain.state import Active
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.repair.whole_append import whole_append
from turnlog.infrastructure.store.appends import OvertakenError

if TYPE_CHECKING:
    from turnlog.infrastructure.append.aggregate import Aggregate
    from turnlog.infrastructure.log_parts import LogParts

PIECE_MESSAGES, PIECE_BYTES = 500, 8 * 1024 * 1024
"""Largest number and size of the messages that are sent in one piece; a larger message is a piece of its own."""

Became = Literal["new", "extended", "already_there"]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a conversation; of a dry run, what would become of it."""

    session_id: UUID
    became: Became


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation of another system, as `SessionLog.import_session` takes it."""

    messages: Sequence[Mapping[str, Any]]
    user_id: str | None
    session_id: UUID | str | None = None
    format: ForeignFormat = "chat"
    title: str | None = None


async def import_conversation(parts: LogParts, conversation: Conversation, dry_run: bool) -> ImportReport:
    """Starts the session and imports the messages that are new: all of them or none. A dry run stores nothing. Raises
    SessionExistsError, and InvalidInputError, also for a message that differs from the one that was imported with its
    number before."""
    format_ = checked_format(conversation.format)
    messages = checked_foreign(conversation.messages, format_, parts.settings.max_message_bytes)
    start = checked_start(now(), conversation.user_id, conversation.title)
    aggregate = await parts.begun(conversation.session_id, start.user_id)
    while True:
        there = await _imported(parts, aggregate, messages)
        new = [_command(start.at, number, format_, messages[number - 1]) for number in _numbers(messages, there)]
        became: Became = "new" if there is None else "extended" if new else "already_there"
        if dry_run or became == "already_there":
            return ImportReport(aggregate.session_id, became)
        with suppress(MessageTakenError, OvertakenError):  # another import has come first: what is new is another thing
            await _append(parts, aggregate, [start, *new])
            return ImportReport(aggregate.session_id, became)


def _numbers(messages: Sequence[JsonObject], there: AbstractSet[int] | None) -> list[int]:
    return [number for number in range(1, len(messages) + 1) if number not in (there or ())]


def _command(at: datetime, number: int, format_: ForeignFormat, message: JsonObject) -> ImportMessage:
    return ImportMessage(at, f"imported-{number}", format_, message)


async def _append(parts: LogParts, aggregate: Aggregate, commands: Sequence[Command]) -> None:
    first, *more = _pieces(commands)
    if not more:
        await aggregate.execute(*first)
        return
    stored = await parts.views.load_state(aggregate.session_id)
    async with whole_append(parts, aggregate.session_id, stored) as whole:
        for piece in (first, *more):
            await whole.execute(piece)


def _pieces(commands: Sequence[Command]) -> list[list[Command]]:
    pieces, size = [list[Command]()], 0
    for command in commands:
        size += len(to_json(command.message)) if isinstance(command, ImportMessage) else 0
        if len(pieces[-1]) >= PIECE_MESSAGES or (size > PIECE_BYTES and pieces[-1]):
            pieces.append([])
            size = 0
        pieces[-1].append(command)
    return pieces


def _is_same(message: JsonObject, stored: JsonObject) -> bool:
    # Compared as texts, because 1 == True.
    return json.dumps(message, sort_keys=True) == json.dumps(stored, sort_keys=True)


async def _imported(parts: LogParts, aggregate: Aggregate, messages: Sequence[JsonObject]) -> AbstractSet[int] | None:
    """The numbers of the messages that were imported before; None if there is no session. Raises InvalidInputError if
    one of them was different then: messages that were imported are skipped, so the edit would be lost without a
    word."""
    await aggregate.ready()
    if not isinstance(aggregate.state, Active):
        return None
    given = {f"imported-{number}": number for number in range(1, len(messages) + 1)}
    found = set[int]()
    async for page in parts.store.events.pages(aggregate.session_id):
        for event in (recorded.event for recorded in page):
            if not isinstance(event, MessageImported) or event.message_id not in given:
                continue
            number = given[event.message_id]
            if not _is_same(messages[number - 1], event.message):
                raise InvalidInputError(f"messages[{number - 1}]", "another one was imported in its place before")
            found.add(number)
    return found
