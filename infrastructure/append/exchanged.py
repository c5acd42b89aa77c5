"""What a client sends to a provider, as commands: so that a session has it, in its order, before the answer.

What a user or the system says, and results of calls, are recorded as if they had been added here. Answers that were not
recorded, and all before them, are kept verbatim, as an import keeps them: so is whatever does not fit otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from turnlog.domain.commands import Command, ImportMessage
from turnlog.domain.errors import InvalidInputError, LimitExceededError
from turnlog.domain.foreign import ForeignFormat, ForeignMessage, ForeignResult, read_foreign
from turnlog.domain.inputs import checked_foreign
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.append.checked_commands import checked_message, checked_tool_result
from turnlog.infrastructure.clock import now


class Sent(NamedTuple):
    """Messages in the shape of an API, each with an id: one that the session has already is not added again. With
    `is_verbatim` all are kept as an import keeps them."""

    format: ForeignFormat
    messages: Sequence[JsonObject]
    ids: Sequence[str]
    is_verbatim: bool = False

    def verbatim(self) -> Sent:
        """The same, all of it as an import keeps it."""
        return self._replace(is_verbatim=True)


def commands_of(sent: Sent, limit: int) -> tuple[Command, ...]:
    """The commands that record the messages. `limit` is the largest size of one text, in bytes as UTF-8. Raises
    InvalidInputError for what no event can hold."""
    messages = checked_foreign(sent.messages, sent.format, limit)
    read = [read_foreign(sent.format, message).items for message in messages]
    answers = [number for number, items in enumerate(read) if any(map(_is_answer, items))]
    kept = len(messages) if sent.is_verbatim else answers[-1] + 1 if answers else 0
    return tuple(_commands(sent, messages, read, kept, limit))


def _commands(
    sent: Sent, messages: Sequence[JsonObject], read: Sequence[Sequence[Any]], kept: int, limit: int
) -> Iterator[Command]:
    at = now()
    for number, (message, items, message_id) in enumerate(zip(messages, read, sent.ids, strict=True)):
        said = None if number < kept else _said(items, message_id, limit)
        if said is None:
            yield ImportMessage(at, message_id, sent.format, message)
        else:
            yield from said


def _said(items: Sequence[Any], message_id: str, limit: int) -> list[Command] | None:
    """What the message says, as it is added here; None where it cannot be."""
    try:
        return [
            _command(item, f"{message_id}.{index}" if index else message_id, limit) for index, item in enumerate(items)
        ]
    except LimitExceededError:
        raise
    except InvalidInputError:
        return None


def _command(item: ForeignMessage | ForeignResult, message_id: str, limit: int) -> Command:
    if isinstance(item, ForeignResult):
        content = item.content if isinstance(item.content, str) else list(item.content)
        return checked_tool_result(item.call_id, content, "error" if item.is_error else "final", None, limit)
    said = list(item.content) if isinstance(item.content, tuple) else item.content
    return checked_message(item.role, said, message_id, item.name, None, None, None, limit)


def _is_answer(item: ForeignMessage | ForeignResult) -> bool:
    return isinstance(item, ForeignMessage) and item.role in ("assistant", "function")
