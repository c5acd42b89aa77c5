"""Files that `turnlog import` takes: a conversation a line, or an export of another system as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, NamedTuple, get_args
from uuid import NAMESPACE_URL, UUID, uuid5

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.foreign import ForeignFormat, conversations_in, detected_format
from turnlog.domain.inputs import AUTO, checked_format, checked_id, checked_session_id, checked_title
from turnlog.domain.values import fingerprint
from turnlog.infrastructure.repair.importing import AnyFormat, Checked, Conversation, checked_conversation

NAMESPACE = uuid5(NAMESPACE_URL, "turnlog:import")
LINE = "line"
_FIRST_FORMATS = ("chat", "anthropic", "responses", "rows")
"""The formats of which lines without a format were all taken to be `chat`."""
_BROKEN: Any = object()


class Place(NamedTuple):
    """Where a conversation stands: the number of its line, and among several there its own. 0: it is the only one."""

    line: int
    conversation: int = 0

    def __str__(self) -> str:
        return f"conversation {self.conversation}" if self.conversation else f"line {self.line}"

    def fields(self) -> dict[str, int]:
        """The place in what is printed as JSON."""
        return {"line": self.line, **({"conversation": self.conversation} if self.conversation else {})}


class Found(NamedTuple):
    """A conversation that can be imported, and the number of its messages. The session's id is set."""

    conversation: Conversation
    session_id: UUID
    messages: int


Read = Callable[[], Found]
"""Gives a conversation, or raises what is wrong with it."""


class Wanted(NamedTuple):
    """What the command was told: the format of lines that do not say theirs (None: seen from the messages), the owner
    of those that do not say one, whether other branches become forks, and the largest size of a text."""

    format: str | None
    user: str | None
    branches: bool
    limit: int


def found_in_file(file: IO[bytes], wanted: Wanted) -> Iterator[tuple[Place, Read]]:
    """The conversations of a file."""
    lines = ((number, line) for number, line in enumerate(file, 1) if line.strip())
    number, first = next(lines, (0, b""))
    if not number:
        return
    value = _parsed(first)
    if value is _BROKEN:
        rest = first + b"".join(line for _, line in lines)
        value = _parsed(rest)
        if value is not _BROKEN:
            yield from _of_value(number, value, wanted)
            return
        lines = ((n, line) for n, line in enumerate(rest.splitlines(), number) if line.strip())
    elif _is_message(value):
        yield from _of_messages([(number, value), *((n, _parsed(line)) for n, line in lines)], wanted)
        return
    else:
        yield from _of_value(number, value, wanted)
    for number, line in lines:
        yield from _of_line(number, line, wanted)


def _of_line(number: int, line: bytes, wanted: Wanted) -> Iterator[tuple[Place, Read]]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        yield Place(number), partial(_refuse, f"is not JSON: {error}")
    else:
        yield from _of_value(number, value, wanted)


def _of_value(number: int, value: Any, wanted: Wanted) -> Iterator[tuple[Place, Read]]:
    several = list(conversations_in(value))
    for place, raw in enumerate(several, 1):
        yield Place(number, place if len(several) > 1 else 0), partial(read_conversation, raw, wanted)


def _of_messages(lines: list[tuple[int, Any]], wanted: Wanted) -> Iterator[tuple[Place, Read]]:
    """The conversations of a file with a message a line, as Claude Code writes one."""
    records = [value for _, value in lines if isinstance(value, dict)]
    for number, value in lines:
        if not isinstance(value, dict):
            yield Place(number), partial(_refuse, "is not JSON of an object, as the lines before it are")
    yield from _of_value(lines[0][0], records, wanted)


def _is_message(value: Any) -> bool:
    """Whether the line is a message, or a note of Claude Code beside its messages, and no conversation."""
    if not isinstance(value, dict) or any(name in value for name in ("messages", "input", "contents", "mapping")):
        return False
    return detected_format([value]) is not None or ("type" in value and bool(value.keys() & {"sessionId", "leafUuid"}))


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _BROKEN


def _refuse(reason: str) -> Found:
    raise InvalidInputError(LINE, reason)


def read_conversation(raw: Any, wanted: Wanted) -> Found:
    """A conversation of a file. The session's id is made from the owner and the conversation's id, or without one from
    the content. Raises InvalidInputError."""
    fields = {name: value for name, value in raw.items() if value is not None} if isinstance(raw, dict) else {}
    given: AnyFormat = checked_format(fields.get("format", wanted.format or AUTO)) or AUTO  # type: ignore[assignment]  # mypy widens AUTO
    # Checked here because the session's id is made from it, and because a dry run checks it as well.
    title = checked_title(fields["title"]) if fields.get("title", "") != "" and "messages" in fields else None
    checked = checked_conversation(Conversation(raw, None, format=given), wanted.limit)
    user = fields.get("user_id", wanted.user)
    user = None if user is None else checked_id(user, "user_id")
    if "session_id" in fields:
        session_id = checked_session_id(fields["session_id"])
    else:
        session_id = uuid5(NAMESPACE, fingerprint(user, _kept_format(given, checked), _key(fields, checked)))
    conversation = Conversation(raw, user, session_id, given, title, wanted.branches)
    return Found(conversation, session_id, len(checked.messages))


def _kept_format(given: AnyFormat, checked: Checked) -> str:
    """The format as it goes into the id of a session: an import that was made before is known."""
    if checked.format not in _FIRST_FORMATS:
        return checked.format
    return "chat" if given == AUTO else given


def _key(fields: dict[str, Any], checked: Checked) -> Any:
    """What tells the conversation from others: its `id`, which may be a whole number, or what is in it."""
    value = fields.get("id")
    if value is None:
        return checked.found.id or checked.messages
    if isinstance(value, str):
        return value or checked.found.id or checked.messages
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidInputError("id", f"must be a string or a whole number, not {value!r:.80}")


FORMATS: tuple[ForeignFormat, ...] = get_args(ForeignFormat)
