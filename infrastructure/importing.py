"""An import: each message of another system's conversation becomes one event, and none of them twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from turnlog.domain.commands import Command, ImportMessage, StartSession
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


async def import_messages(
    context: Context,
    aggregate: Aggregate,
    start: StartSession,
    format: ForeignFormat,  # noqa: A002 the field's name
    messages: Sequence[JsonObject],
) -> None:
    """Starts the session and imports what is new. Raises InvalidInputError for a message that is another one than was
    imported in its place, and SessionExistsError."""
    await aggregate.ready()
    if isinstance(aggregate.state, Active) and aggregate.state.user_id == start.user_id:
        await _check_same(context, aggregate, messages)
    imports = [
        ImportMessage(start.at, f"imported-{number}", format, message) for number, message in enumerate(messages, 1)
    ]
    commands: list[Command] = [start, *imports]
    for first in range(0, len(commands), AT_ONCE):
        await aggregate.execute(*commands[first : first + AT_ONCE])


async def _check_same(context: Context, aggregate: Aggregate, messages: Sequence[JsonObject]) -> None:
    """An edit of what was imported would otherwise be lost without a word: the message counts as known."""
    given = {f"imported-{number}": message for number, message in enumerate(messages, 1)}
    after = 0
    while page := await context.store.read(aggregate.session_id, after=after, limit=AT_ONCE):
        after = page[-1].position
        for event in (recorded.event for recorded in page):
            if isinstance(event, MessageImported) and given.get(event.message_id, event.message) != event.message:
                number = int(event.message_id.removeprefix("imported-"))
                raise InvalidInputError(f"messages[{number - 1}]", "another one was imported in its place before")
