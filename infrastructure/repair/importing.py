"""An import: each message of another system's conversation becomes one event. No message is imported twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid5

from turnlog.domain.commands import Command, ImportMessage
from turnlog.domain.decide import MessageTakenError
from turnlog.domain.errors import InvalidInputError
from turnlog.domain.events import MessageImported
from turnlog.domain.foreign import (
    TIME_COLUMNS,
    Branch,
    ForeignConversation,
    ForeignFormat,
    ForeignMessage,
    ForeignResult,
    column_name,
    only_conversation,
    what_was_seen,
)
from turnlog.domain.inputs import checked_foreign, checked_format, checked_start
from turnlog.domain.limits import MAX_TITLE_LENGTH
from turnlog.domain.quoting import cut
from turnlog.domain.recorded import RecordedEvent
from turnlog.domain.state import Active
from turnlog.domain.values import JsonObject, check_json, json_size
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.repair.forking import make_fork
from turnlog.infrastructure.repair.whole_append import whole_append
from turnlog.infrastructure.store.appends import OvertakenError
from turnlog.projections.projector import Projector
from turnlog.projections.prompt import build_prompt

if TYPE_CHECKING:
    from turnlog.infrastructure.append.aggregate import Aggregate
    from turnlog.infrastructure.log_parts import LogParts

PIECE_MESSAGES, PIECE_BYTES = 500, 8 * 1024 * 1024
"""Largest number and size of the messages that are sent in one piece; a larger message is a piece of its own."""

Became = Literal["new", "extended", "already_there"]
AnyFormat = ForeignFormat | Literal["auto"]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a conversation; of a dry run, what would become of it. `format` is the one that it was read in
    (`turnlog` for one that was exported by turnlog), and `branches` are the sessions of its other branches, where these
    were wanted."""

    session_id: UUID
    became: Became
    format: ForeignFormat | Literal["turnlog"]
    branches: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation of another system, as `SessionLog.import_session` takes it: a list of messages, or what an export
    has of it. `format` `auto`: seen from the messages. With `branches` each other branch becomes a fork."""

    messages: Any
    user_id: str | None
    session_id: UUID | str | None = None
    format: AnyFormat = "auto"
    title: str | None = None
    branches: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """A conversation whose messages are read: what they are is known, and that something of them can be sent."""

    found: ForeignConversation
    messages: list[JsonObject]

    @property
    def format(self) -> ForeignFormat:
        """The format of the messages."""
        return self.found.format


def checked_conversation(conversation: Conversation, limit: int) -> Checked:
    """The conversation, checked. `limit` is the largest size of one text, in bytes as UTF-8. Raises InvalidInputError
    for what is of no known format, and for what says nothing."""
    format_ = checked_format(conversation.format)
    if isinstance(conversation.messages, Mapping | Sequence):
        check_json(conversation.messages, "messages")
    found = only_conversation(conversation.messages, format_)
    messages = checked_foreign(found.messages, found.format, limit)
    _check_says_something(messages, found.format)
    return Checked(found, messages)


def _check_says_something(messages: Sequence[JsonObject], format_: ForeignFormat) -> None:
    """Raises InvalidInputError if no message has anything that could be sent: its format is another one."""
    session_id, at = UUID(int=0), now()
    for message in messages:
        imported = MessageImported(at=at, message_id="imported-1", format=format_, message=message)
        if any(map(_is_plain, imported.reading.items)):
            return
        alone = Projector(session_id).apply_all([RecordedEvent(session_id, 1, 0, imported)])
        if build_prompt(alone.turns()):
            return
    raise InvalidInputError("messages", f"say nothing in the format {format_}: {what_was_seen(messages)}")


def _is_plain(item: ForeignMessage | ForeignResult) -> bool:
    """Whether it is a text that a user or the system has said, as nearly all first messages are."""
    is_said = isinstance(item, ForeignMessage) and item.role in ("system", "developer", "user")
    return is_said and isinstance(item.content, str) and item.content != ""


async def import_conversation(parts: LogParts, conversation: Conversation, dry_run: bool) -> ImportReport:
    """Starts the session and imports the messages that are new: all of them or none. A dry run stores nothing. Raises
    SessionExistsError, and InvalidInputError, also for a message that differs from the one that was imported with its
    number before."""
    checked = await asyncio.to_thread(checked_conversation, conversation, parts.settings.max_message_bytes)
    report = await _import(parts, conversation, checked, dry_run)
    branches = checked.found.branches if conversation.branches else ()
    made = [await _import_branch(parts, conversation, checked, report.session_id, one, dry_run) for one in branches]
    return replace(report, branches=tuple(made))


async def _import(parts: LogParts, conversation: Conversation, checked: Checked, dry_run: bool) -> ImportReport:
    format_, messages = checked.format, checked.messages
    facts = checked.found.facts
    title = _title(checked.found.title) if conversation.title is None else conversation.title
    start = checked_start(now(), conversation.user_id, title, {"imported": facts} if facts else None)
    aggregate = await parts.begun(conversation.session_id, start.user_id)
    while True:
        there = await _imported(parts, aggregate, messages)
        new = [_command(start.at, number, format_, messages[number - 1]) for number in _numbers(messages, there)]
        became: Became = "new" if there is None else "extended" if new else "already_there"
        if dry_run or became == "already_there":
            return ImportReport(aggregate.session_id, became, format_)
        with suppress(MessageTakenError, OvertakenError):  # another import has come first: what is new is another thing
            await _append(parts, aggregate, [start, *new])
            return ImportReport(aggregate.session_id, became, format_)


def _title(found: str | None) -> str | None:
    """The title of an export, which may be longer than ours."""
    return None if found is None else cut(found, MAX_TITLE_LENGTH - 3)


async def _import_branch(
    parts: LogParts, conversation: Conversation, checked: Checked, source: UUID, branch: Branch, dry_run: bool
) -> UUID:
    """Another branch as a fork of the session, which goes on where the branch begins. A fork that is there goes on."""
    made = uuid5(source, branch.id)
    messages = checked_foreign(branch.messages, checked.format, parts.settings.max_message_bytes)
    common = sum(1 for _ in takewhile(lambda pair: _is_same(*pair), zip(messages, checked.messages, strict=False)))
    if not dry_run:
        if common and not (await parts.store.standing(made)).position:
            await make_fork(parts, source, conversation.user_id, await _position(parts, source, common), made)
        found = checked.found._replace(messages=messages)
        await _import(parts, replace(conversation, session_id=made), Checked(found, messages), dry_run)
    return made


async def _position(parts: LogParts, session_id: UUID, number: int) -> int:
    """Where the message with this number was imported."""
    async for page in parts.store.events.pages(session_id):
        for recorded in page:
            if isinstance(recorded.event, MessageImported) and recorded.event.message_id == f"imported-{number}":
                return recorded.position
    raise LookupError(number)


def _numbers(messages: Sequence[JsonObject], there: AbstractSet[int] | None) -> list[int]:
    return [number for number in range(1, len(messages) + 1) if number not in (there or ())]


def _command(at: datetime, number: int, format_: ForeignFormat, message: JsonObject) -> ImportMessage:
    return ImportMessage(at, f"imported-{number}", format_, message)


async def _append(parts: LogParts, aggregate: Aggregate, commands: Sequence[Command]) -> None:
    first, *more = _pieces(commands)
    if not more:
        await aggregate.execute(*first)
        return
    stored = await parts.views.states.load(aggregate.session_id)
    async with whole_append(parts, aggregate.session_id, stored) as whole:
        for piece in (first, *more):
            await whole.execute(piece)


def _pieces(commands: Sequence[Command]) -> list[list[Command]]:
    pieces, size = [list[Command]()], 0
    for command in commands:
        size += json_size(command.message) if isinstance(command, ImportMessage) else 0
        if len(pieces[-1]) >= PIECE_MESSAGES or (size > PIECE_BYTES and pieces[-1]):
            pieces.append([])
            size = 0
        pieces[-1].append(command)
    return pieces


def _is_same(message: JsonObject, stored: JsonObject) -> bool:
    # Compared as texts, because 1 == True.
    return json.dumps(message, sort_keys=True) == json.dumps(stored, sort_keys=True)


def _lacks_time(message: JsonObject, stored: MessageImported) -> bool:
    """Whether the stored message is the row without its time, which tables were imported without once."""
    if stored.format != "rows":
        return False
    timeless = {
        key: value for key, value in message.items() if key in stored.message or column_name(key) not in TIME_COLUMNS
    }
    return _is_same(timeless, stored.message)


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
            if not _is_same(messages[number - 1], event.message) and not _lacks_time(messages[number - 1], event):
                raise InvalidInputError(f"messages[{number - 1}]", "another one was imported in its place before")
            found.add(number)
    return found
