"""When a foreign message was written, and by which model, as far as it says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from turnlog.domain.limits import MAX_NAME_LENGTH
from turnlog.domain.quoting import cut

TIME_COLUMNS = ("createdat", "createtime", "timestamp", "created", "sentat", "starttimestamp")
_MODELS = ("model", "modelname", "modelslug", "modelid")
_INSIDE = ("message", "data", "kwargs", "metadata", "responsemetadata", "additionalkwargs")
"""Objects inside a message that say more about it. All names are as `column_name` has them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = 5e8, 7e9
"""Seconds since 1970 that can be the time of a message: from 1985 to 2191."""
_UNITS = (1.0, 1e3, 1e6, 1e9)


def column_name(name: str) -> str:
    """A column's name as names are compared: databases fold the case, and there may be underscores or none."""
    return name.replace("_", "").lower()


def time_of(message: dict[str, Any]) -> datetime | None:
    """The time that the message says it is of, in UTC; None if it says none that can be read."""
    times = (parsed_time(value) for holder in _holders(message) for value in _values(holder, TIME_COLUMNS))
    return next((time for time in times if time is not None), None)


def model_of(message: dict[str, Any]) -> str | None:
    """The name of the model that the message says it is of."""
    models = (value for holder in _holders(message) for value in _values(holder, _MODELS))
    return next((cut(model, MAX_NAME_LENGTH - 3) for model in models if isinstance(model, str) and model), None)


def parsed_time(value: Any) -> datetime | None:
    """A time as JSON has it: ISO 8601, or seconds, milliseconds, microseconds or nanoseconds since 1970. One without a
    zone is UTC."""
    if isinstance(value, dict):  # as MongoDB exports it
        return parsed_time(value.get("$date", value.get("$numberLong"))) if len(value) == 1 else None
    if isinstance(value, str):
        return _from_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _from_number(value)


def _from_text(text: str) -> datetime | None:
    try:
        return _from_number(float(text))
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _from_number(number: float) -> datetime | None:
    try:
        seconds = [number / unit for unit in _UNITS]
    except OverflowError:
        return None
    fitting = next((one for one in seconds if math.isfinite(one) and _FIRST <= one <= _LAST), None)
    return None if fitting is None else _EPOCH + timedelta(seconds=fitting)


def _holders(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The message, the objects inside it that say more about it, and its first part."""
    yield message
    for value in _values(message, _INSIDE):
        if isinstance(value, dict):
            yield value
            yield from (inner for inner in _values(value, _INSIDE) if isinstance(inner, dict))
    for value in _values(message, ("parts", "messages", "content")):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield value[0]
            yield from (inner for inner in _values(value[0], ("metadata",)) if isinstance(inner, dict))


def _values(holder: dict[str, Any], names: tuple[str, ...]) -> Iterator[Any]:
    """The values of the fields with these names, in the order of the names."""
    there = {column_name(key): value for key, value in reversed(holder.items()) if value is not None}
    yield from (there[name] for name in names if name in there)
