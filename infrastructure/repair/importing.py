"""An import: each message of another system's conversation becomes one event. No message is imported twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid4

from turnlog.domain.commands import Command, ImportMessage, StartSession
from turnlog.domain.decide import decide
from turnlog.domain.errors import InvalidInputError
from turnlog.domain.events import MessageImported
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.inputs import checked_foreign, checked_format, checked_session_id, checked_start
from turnlog.domain.state import Active
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.clock import now

if TYPE_CHECKING:
    from turnlog.infrastructure.append.aggregate import Aggregate
    from turnlog.infrastructure.log_parts import LogParts

IMPORT_APPEND_MESSAGES = 500
"""Largest number of messages in one append. A conversation with fewer messages is stored as a whole or not at all."""

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
    """Starts the session and imports the messages that are new. A dry run stores nothing. Raises SessionExistsError,
    and InvalidInputError, also for a message that differs from the one that was imported with its number before."""
    format_ = checked_format(conversation.format)
    messages = checked_foreign(conversation.messages, format_, parts.settings.max_message_bytes)
    start = checked_start(now(), conversation.user_id, conversation.title)
    given = conversation.session_id
    aggregate = parts.aggregate(uuid4() if given is None else checked_session_id(given))
    if given is None:
        aggregate.begin_empty()
    await aggregate.ready()
    became: Became = "new"
    if isinstance(aggregate.state, Active) and aggregate.state.user_id == start.user_id:
        known = await _count_known(parts, aggregate, messages)
        became = "extended" if known < len(messages) else "already_there"
    if dry_run:
        decide(aggregate.state, start)
    else:
        await _append(aggregate, start, format_, messages)
    return ImportReport(aggregate.session_id, became)


async def _append(
    aggregate: Aggregate,
    start: StartSession,
    format: ForeignFormat,  # noqa: A002 the field's name
    messages: Sequence[JsonObject],
) -> None:
    imports = [
        ImportMessage(start.at, f"imported-{number}", format, message) for number, message in enumerate(messages, 1)
    ]
    commands: list[Command] = [start, *imports]
    for first in range(0, len(commands), IMPORT_APPEND_MESSAGES):
        await aggregate.execute(*commands[first : first + IMPORT_APPEND_MESSAGES])


def _is_same(message: JsonObject, stored: JsonObject) -> bool:
    # Compared as texts, because 1 == True.
    return json.dumps(message, sort_keys=True) == json.dumps(stored, sort_keys=True)


async def _count_known(parts: LogParts, aggregate: Aggregate, messages: Sequence[JsonObject]) -> int:
    """The number of messages that were imported before. Raises InvalidInputError if one of them was different then:
    messages that were imported are skipped, so the edit would be lost without a word."""
    given = {f"imported-{number}": message for number, message in enumerate(messages, 1)}
    known = 0
    async for page in parts.store.events.pages(aggregate.session_id):
        for event in (recorded.event for recorded in page):
            if not isinstance(event, MessageImported) or event.message_id not in given:
                continue
            if not _is_same(given[event.message_id], event.message):
                number = int(event.message_id.removeprefix("imported-"))
                raise InvalidInputError(f"messages[{number - 1}]", "another one was imported in its place before")
            known += 1
    return known
