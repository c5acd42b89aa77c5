"""Times for people."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def ago(then: datetime, now: datetime | None = None) -> str:
    """How long ago that was, in one unit. The date if it is more than a month ago."""
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    if seconds > 31 * 86_400:
        return f"{then:%Y-%m-%d}"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "now"


def moment(then: datetime) -> str:
    """Date and time to the second, in UTC."""
    return f"{then.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
