"""Checks of what callers give. Every refusal is an InvalidInputError that names the field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from typing import Any, cast, get_args
from uuid import UUID

from turnlog.domain.commands import AddMessage, StartSession
from turnlog.domain.errors import InvalidInputError, LimitExceededError
from turnlog.domain.events import Content, FunctionCall, ResultStatus, Role, ToolCall
from turnlog.domain.foreign import ForeignFormat, column_name, normal_part
from turnlog.domain.limits import (
    MAX_CALL_ID_LENGTH,
    MAX_CALLS,
    MAX_COUNTER,
    MAX_ID_LENGTH,
    MAX_JSON_VALUES,
    MAX_MESSAGE_LENGTH,
    MAX_METADATA_BYTES,
    MAX_NAME_LENGTH,
    MAX_SECONDS,
    MAX_TITLE_LENGTH,
    MAX_USAGE_BYTES,
)
from turnlog.domain.quoting import quoted
from turnlog.domain.turns import TurnStatus
from turnlog.domain.values import JsonObject, JsonPath, is_unicode, json_copy, json_size

AUTO = "auto"
"""The format that is seen from the messages."""
ORDER_COLUMNS = ("sequence", "seq", "position", "messageindex", "ordinal")
"""Names of the column with a row's position in its conversation, as `column_name` has them."""


def checked_id(value: Any, field: str) -> str:
    """A user id or message id: 1 to 255 characters of Unicode text without NUL."""
    if not checked_short(value, field, MAX_ID_LENGTH).strip():
        raise InvalidInputError(field, "must not be empty")
    if "\0" in value or not is_unicode(value):
        raise InvalidInputError(field, "must not hold NUL or lone surrogates")
    return str(value)


def checked_short(value: Any, field: str, limit: int = MAX_NAME_LENGTH) -> str:
    """Any str of at most `limit` characters."""
    if not isinstance(value, str):
        raise InvalidInputError(field, f"must be a string, not {type(value).__name__}")
    check_length(len(value), field, limit)
    return value


def checked_optional_name(value: Any, field: str) -> str | None:
    """A name of at most MAX_NAME_LENGTH characters, or None."""
    return None if value is None else checked_short(value, field)


def check_kind(value: Any, kind: Any, field: str) -> None:
    """Raises InvalidInputError for anything but a value of this kind, as `isinstance` takes it."""
    if not isinstance(value, kind):
        raise InvalidInputError(field, f"cannot be a {type(value).__name__}")


def checked_session_id(value: Any, field: str = "session_id") -> UUID:
    """A UUID, or its text."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise InvalidInputError(field, f"{quoted(value)} is not a UUID") from None


def checked_day(value: Any, field: str) -> date | None:
    """A date, or its text (2026-11-24), or None."""
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    try:
        return date.fromisoformat(value)
    except (ValueError, TypeError):
        raise InvalidInputError(field, f"{quoted(value)} is not a day such as 2026-11-24") from None


def checked_title(value: Any) -> str:
    """A title that is not blank."""
    title = checked_short(value, "title", MAX_TITLE_LENGTH)
    if not title.strip():
        raise InvalidInputError("title", "must not be blank")
    return title


def checked_text(value: Any, field: str, limit: int | None = None) -> str:
    """Any str, of at most `limit` bytes as UTF-8."""
    if not isinstance(value, str):
        raise InvalidInputError(field, f"must be a string, not {type(value).__name__}")
    # Counting bytes costs a copy, so it is done only if the number of characters does not settle it.
    if limit is not None and len(value) * 4 > limit:
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > limit:
            raise LimitExceededError(field, f"has {size:,} bytes, at most {limit:,} are allowed", limit)
    return value


def checked_optional_text(value: Any, field: str, limit: int | None = None) -> str | None:
    """A str, of at most `limit` bytes as UTF-8, or None."""
    return None if value is None else checked_text(value, field, limit)


def checked_role(value: Any) -> Role:
    """One of the roles with which a message can be added."""
    if isinstance(value, str) and value in get_args(Role):
        return cast("Role", value)
    hint = " (use add_tool_result)" if value == "tool" else ""
    raise InvalidInputError("role", f"{quoted(value)} is not one of {', '.join(get_args(Role))}{hint}")


def checked_status(value: Any) -> ResultStatus:
    """The status of a tool result."""
    if isinstance(value, str) and value in get_args(ResultStatus):
        return cast("ResultStatus", value)
    raise InvalidInputError("status", f"{quoted(value)} is not one of {', '.join(get_args(ResultStatus))}")


def checked_turn_statuses(
    value: Any, default: Sequence[TurnStatus] | None = None, of: Sequence[TurnStatus] = get_args(TurnStatus)
) -> tuple[TurnStatus, ...] | None:
    """One of these statuses of turns, or several; or the default for None."""
    if value is None:
        return None if default is None else tuple(default)
    listed = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else []
    for status in listed or [value]:
        if not isinstance(status, str) or status not in of:
            raise InvalidInputError("status", f"{quoted(status)} is not one of {', '.join(of)}")
    return tuple(cast("list[TurnStatus]", listed))


def checked_content(value: Any, limit: int, field: str = "content") -> Content:
    """Text, or a non-empty list of content parts, each an object with a `type`. Images, audio, files and documents, as
    any API, MCP or Anthropic's blocks have them, get the form that prompts are made from; one that does not hold what
    its type says is refused."""
    if isinstance(value, str):
        return checked_text(value, field, limit)
    if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray) or not value:
        raise InvalidInputError(field, "must be a string or a non-empty list of content parts")
    parts = json_copy(_listed(value, field, MAX_JSON_VALUES), field)
    for i, part in enumerate(parts):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidInputError(f"{field}[{i}]", "must be an object with a `type`")
    check_texts(parts, field, limit)
    return tuple(_normal(part, f"{field}[{i}]") for i, part in enumerate(parts))


def _normal(part: JsonObject, field: str) -> JsonObject:
    normal = normal_part(part)
    if normal is None:
        raise InvalidInputError(field, f"is a part of the type {quoted(part['type'])} that has nothing to send in it")
    return normal


def _listed(value: Sequence[Any], field: str, limit: int) -> list[Any]:
    if len(value) > limit:
        raise LimitExceededError(field, f"has {len(value):,} items, at most {limit:,} are allowed", limit)
    return list(value)


def check_texts(value: Any, field: str, limit: int) -> None:
    """Raises LimitExceededError if a text in a JSON value has more than `limit` bytes as UTF-8, or all of them together
    have more than MAX_MESSAGE_LENGTH characters."""
    left, total = list[tuple[Any, JsonPath | str]]([(value, field)]), 0
    while left:
        item, path = left.pop()
        if isinstance(item, str):
            total += len(item)
            if len(item) * 4 > limit:
                checked_text(item, str(path), limit)
        elif isinstance(item, dict | list):
            inside = item.items() if isinstance(item, dict) else enumerate(item)
            left += ((one, JsonPath(path, step)) for step, one in inside)
    check_length(total, field)


def check_length(length: int, field: str, limit: int = MAX_MESSAGE_LENGTH) -> None:
    """Raises LimitExceededError if what comes in many parts has become longer than `limit` characters."""
    if length > limit:
        raise LimitExceededError(field, f"has {length:,} characters, at most {limit:,} are allowed", limit)


def checked_version(version: int | None, last: int) -> int:
    """The position that is given, if the session has it: from 1 to `last`. None is the last one."""
    return last if version is None else checked_range(version, "version", 1, last)


def checked_object(value: Any, field: str) -> JsonObject:
    """A JSON object, copied."""
    if not isinstance(value, Mapping):
        raise InvalidInputError(field, f"must be an object, not {type(value).__name__}")
    return cast("JsonObject", json_copy(dict(value), field))


def checked_usage_object(value: JsonObject, field: str = "usage") -> JsonObject:
    """A usage object that is not too large."""
    if (size := json_size(value)) > MAX_USAGE_BYTES:
        reason = f"has {size:,} bytes, at most {MAX_USAGE_BYTES:,} are allowed"
        raise LimitExceededError(field, reason, MAX_USAGE_BYTES)
    return value


def checked_count(value: Any, field: str) -> int:
    """A whole number from -MAX_COUNTER to MAX_COUNTER."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInputError(field, f"must be a whole number, not {quoted(value)}")
    if abs(value) > MAX_COUNTER:
        raise LimitExceededError(field, f"{quoted(value)} is beyond {MAX_COUNTER}", MAX_COUNTER)
    return value


def checked_seconds(value: Any, field: str) -> float:
    """A positive number of seconds, at most some months."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_SECONDS:
        raise InvalidInputError(field, f"{quoted(value)} is not a number of seconds from above 0 to {MAX_SECONDS:,}")
    return float(value)


def checked_range(value: Any, field: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidInputError(field, f"{quoted(value)} is not a whole number from {low} to {high}")
    return value


def checked_name(value: Any, field: str = "name") -> str | None:
    """A name that is not empty, or None."""
    name = checked_optional_text(value, field)
    if name is not None and not 0 < len(name) <= MAX_ID_LENGTH:
        raise InvalidInputError(field, f"must have 1 to {MAX_ID_LENGTH} characters")
    return name


def checked_tool_calls(value: Any, limit: int) -> tuple[ToolCall, ...]:
    """Tool calls in the Chat Completions shape: {id, type, function: {name, arguments: str}}."""
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidInputError("tool_calls", "must be a list")
    calls = _listed(value, "tool_calls", MAX_CALLS)
    checked = tuple(_tool_call(call, f"tool_calls[{i}]", limit) for i, call in enumerate(calls))
    check_length(sum(len(call.arguments) for call in checked), "tool_calls")
    return checked


def _tool_call(value: Any, field: str, limit: int) -> ToolCall:
    call = checked_object(value, field)
    function = checked_function(call.get("function"), f"{field}.function", limit)
    call_id = checked_short(call.get("id"), f"{field}.id", MAX_CALL_ID_LENGTH)
    return ToolCall(id=call_id, name=function.name, arguments=function.arguments)


def checked_function(value: Any, field: str, limit: int) -> FunctionCall:
    """A function with its name, and its arguments as a string: the empty one if they are missing."""
    function = checked_object(value, field)
    arguments = function.get("arguments")
    return FunctionCall(
        name=checked_short(function.get("name"), f"{field}.name"),
        arguments="" if arguments is None else checked_text(arguments, f"{field}.arguments", limit),
    )


def checked_format(value: Any) -> ForeignFormat | None:
    """One of the formats that can be imported; None for `auto`."""
    if isinstance(value, str) and value == AUTO:
        return None
    if isinstance(value, str) and value in get_args(ForeignFormat):
        return cast("ForeignFormat", value)
    raise InvalidInputError("format", f"{quoted(value)} is not one of: {', '.join((AUTO, *get_args(ForeignFormat)))}")


def checked_foreign(value: Any, format: ForeignFormat, limit: int) -> list[JsonObject]:  # noqa: A002 the field's name
    """The messages of a foreign history, copied. Rows are sorted by their `sequence`, if each has a number there."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        raise InvalidInputError("messages", f"must be a list, not {type(value).__name__}")
    messages = [checked_object(message, f"messages[{i}]") for i, message in enumerate(value)]
    for i, message in enumerate(messages):
        check_texts(message, f"messages[{i}]", limit)
    return _in_order(messages) if format == "rows" else messages


def _in_order(rows: list[JsonObject]) -> list[JsonObject]:
    sequences = [_sequence(row) for row in rows]
    if None in sequences:
        return rows
    return [row for _, row in sorted(zip(sequences, rows, strict=True), key=itemgetter(0))]


def _sequence(row: JsonObject) -> Decimal | None:
    """The position of the row in its conversation, if it has one. Databases export large numbers as text."""
    found = next((row[key] for key in row if column_name(key) in ORDER_COLUMNS and row[key] is not None), None)
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        number = Decimal(found)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def check_message(command: AddMessage) -> None:
    """Raises InvalidInputError if the message has a field that its role does not have, or lacks one that it needs."""
    if command.role == "assistant":
        if command.content is None and not (command.refusal or command.tool_calls or command.function_call):
            raise InvalidInputError("content", "an assistant message without content needs something else")
        return
    for field in ("refusal", "tool_calls", "function_call"):
        if getattr(command, field):
            raise InvalidInputError(field, f"is an assistant's, not a {command.role}'s")
    if command.content is None:
        raise InvalidInputError("content", f"a {command.role} message must have one")
    if command.role == "function" and not command.name:
        raise InvalidInputError("name", "a function message must have one")


def checked_metadata(value: JsonObject, before: JsonObject | None = None) -> JsonObject:
    """Metadata that is not too large. Metadata that was too large `before` may become smaller."""
    size = json_size(value)
    if size > MAX_METADATA_BYTES and (before is None or size > json_size(before)):
        reason = f"has {size:,} bytes, at most {MAX_METADATA_BYTES:,} are allowed"
        raise LimitExceededError("metadata", reason, MAX_METADATA_BYTES)
    return value


def checked_start(
    at: datetime, user_id: str | None, title: str | None, metadata: Mapping[str, Any] | None = None
) -> StartSession:
    """The command that starts a session."""
    return StartSession(
        at=at,
        user_id=None if user_id is None else checked_id(user_id, "user_id"),
        title=None if title is None else checked_title(title),
        metadata={} if metadata is None else checked_metadata(checked_object(metadata, "metadata")),
    )
