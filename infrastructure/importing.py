"""An import: each message of another system's conversation becomes one event, and none of them twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from turnlog.domain.commands import Command, ImportMessage, StartSession
from turnlog.domain.decide import decide
from turnlog.domain.errors import InvalidInputError
from turnlog.domain.events import MessageImported
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.state import Active
from turnlog.domain.values import JsonObject

if TYPE_CHECKING:
    from turnlog.infrastructure.aggregate import Aggregate
    from turnlog.infrastructure.session import Context

AT_ONCE = 500
"""Messages in an append: a conversation of no more than that is there as a whole or not at all."""

Became = Literal["new", "extended", "already_there"]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a conversation, or would become of it on a dry run."""

    session_id: UUID
    became: Became


async def import_messages(
    context: Context,
    aggregate: Aggregate,
    start: StartSession,
    format: ForeignFormat,  # noqa: A002 the field's name
    messages: Sequence[JsonObject],
    dry_run: bool = False,
) -> ImportReport:
    """Starts the session and imports what is new, or on a dry run only says what would be refused. Raises
    InvalidInputError for a message that is another one than was imported in its place, and SessionExistsError."""
    await aggregate.ready()
    became: Became = "new"
    if isinstance(aggregate.state, Active) and aggregate.state.user_id == start.user_id:
        known = await _count_known(context, aggregate, messages)
        became = "extended" if known < len(messages) else "already_there"
    if dry_run:
        decide(aggregate.state, start)
    else:
        await _append(aggregate, start, format, messages)
    return ImportReport(aggregate.session_id, became)


async def _append(
    aggregate: Aggregate,
    start: StartSession,
    format: ForeignFormat,  # noqa: A002 as above
    messages: Sequence[JsonObject],
) -> None:
    imports = [
        ImportMessage(start.at, f"imported-{number}", format, message) for number, message in enumerate(messages, 1)
    ]
    commands: list[Command] = [start, *imports]
    for first in range(0, len(commands), AT_ONCE):
        await aggregate.execute(*commands[first : first + AT_ONCE])


async def _count_known(context: Context, aggregate: Aggregate, messages: Sequence[JsonObject]) -> int:
    """How many of the messages were imported before. Raises InvalidInputError where one was another one then: the
    edit would otherwise be lost without a word, for the message counts as known."""
    given = {f"imported-{number}": message for number, message in enumerate(messages, 1)}
    after = known = 0
    while page := await context.store.read(aggregate.session_id, after=after, limit=AT_ONCE):
        after = page[-1].position
        for event in (recorded.event for recorded in page):
            if not isinstance(event, MessageImported) or event.message_id not in given:
                continue
            if given[event.message_id] != event.message:
                number = int(event.message_id.removeprefix("imported-"))
                raise InvalidInputError(f"messages[{number - 1}]", "another one was imported in its place before")
            known += 1
    return known
