"""Usage over all sessions: what each user has used of each model, on each day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Any, Literal

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.quoting import quoted
from turnlog.domain.values import Frozen, JsonObject, as_unicode
from turnlog.projections.usage import token_counts

Dimension = Literal["user", "model", "day"]
DIMENSIONS: tuple[Dimension, ...] = ("user", "model", "day")


class UsageRow(Frozen):
    """Tokens, and the number of steps that have ended. Dimensions that the report does not tell apart are None.

    `user_id` is also None for sessions that nobody owns, and `model` for usage that names no model. `day` is in UTC.
    """

    user_id: str | None = None
    model: str | None = None
    day: date | None = None
    steps: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class UsageReport(Frozen):
    """`by` are the dimensions that the rows tell apart, and `total` is the sum of the rows. The report covers the log
    up to `log_position`; `events_behind` is the number of events after that, and `is_catching_up` says whether they are
    being counted meanwhile, by this log."""

    by: tuple[Dimension, ...]
    rows: tuple[UsageRow, ...]
    total: UsageRow
    log_position: int
    events_behind: int
    is_catching_up: bool = False


def checked_dimensions(value: Any) -> tuple[Dimension, ...]:
    """The dimensions that a report tells apart, in the order of DIMENSIONS. Raises InvalidInputError."""
    if not isinstance(value, Collection) or isinstance(value, str) or not all(one in DIMENSIONS for one in value):
        raise InvalidInputError("by", f"{quoted(value)} is not a list of: {', '.join(DIMENSIONS)}")
    return tuple(dimension for dimension in DIMENSIONS if dimension in value)


def counted(usage: JsonObject) -> list[int]:
    """The tokens of one report, in the order of TOKEN_PATHS."""
    return list(token_counts(usage).values())


def in_day(at: datetime) -> date:
    """The day for which usage is counted: that of its event, in UTC."""
    return at.astimezone(UTC).date()


def plain(name: str | None) -> str | None:
    """A model's name as every database accepts it: NUL and lone surrogates are U+FFFD. None for an empty name."""
    return as_unicode(name).replace("\0", "\N{REPLACEMENT CHARACTER}") if name else None


def summed(rows: tuple[UsageRow, ...]) -> UsageRow:
    """All rows as one."""
    names = UsageRow.model_fields.keys() - {"user_id", "model", "day"}
    return UsageRow(**{name: sum(getattr(row, name) for row in rows) for name in names})
