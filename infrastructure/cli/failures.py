"""Errors for people: one line that says what went wrong, and a hint about what to do if there is one."""

from __future__ import annotations

from collections.abc import Sequence

from turnlog.domain.errors import (
    SchemaVersionError,
    SessionNotFoundError,
    StoreUnavailableError,
    TurnlogError,
    UnfitDatabaseError,
)
from turnlog.infrastructure.urls import masked

NO_POSTGRES = (
    "is Postgres running, and is DATABASE_URL (or --database-url) right? `turnlog doctor` says more. Without a URL "
    'turnlog starts its own Postgres: pip install "turnlog[embedded]"'
)

_HINTS: Sequence[tuple[type[TurnlogError], str]] = (
    (SessionNotFoundError, "`turnlog list` shows the sessions that there are"),
    (StoreUnavailableError, NO_POSTGRES),
    (SchemaVersionError, "pip install --upgrade turnlog"),
)


def hint_for(error: Exception) -> str | None:
    """What to do about the error, if that is known."""
    if isinstance(error, UnfitDatabaseError):
        return error.hint
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), None)


def report(error: Exception) -> None:
    """Prints the error on stderr."""
    from turnlog.infrastructure.cli.output import stderr  # noqa: PLC0415 rich, which `--help` does without

    stderr().say(f"error: {masked(str(error))}", style="red")
    if hint := hint_for(error):
        stderr().say(f"hint: {hint}", style="dim")
