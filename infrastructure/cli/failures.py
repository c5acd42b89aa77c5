"""Errors for people: one line that says what went wrong, and a hint about what to do if there is one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from turnlog.domain.errors import SchemaVersionError, SessionNotFoundError, StoreUnavailableError, TurnlogError

NO_POSTGRES = (
    "is Postgres running, and is DATABASE_URL (or --database-url) right? `turnlog doctor` says more. Without a URL "
    'turnlog starts its own Postgres: pip install "turnlog[embedded]"'
)

_HINTS: Sequence[tuple[type[TurnlogError], str]] = (
    (SessionNotFoundError, "`turnlog list` shows the sessions that there are"),
    (StoreUnavailableError, NO_POSTGRES),
    (SchemaVersionError, "`turnlog doctor` compares the versions"),
)

_WORD = re.compile(r"[^\s\"']+")
_USER = re.compile(r"/[^:/@?\s]*:")
_PARAMETER = re.compile(r"((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s\"']*)", re.IGNORECASE)


def masked(text: str) -> str:
    """The text without the passwords of connection URLs and connection strings."""
    return _PARAMETER.sub(r"\1***", _WORD.sub(_without_password, text))


def _without_password(word: re.Match[str]) -> str:
    # The password may hold any sign, and ends at the last @. Each word is looked at once, whatever it is made of.
    text = word[0]
    end = text.rfind("@")
    user = _USER.search(text, 0, max(end, 0))
    return text if user is None else f"{text[: user.end()]}***{text[end:]}"


def hint_for(error: Exception) -> str | None:
    """What to do about the error, if that is known."""
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), None)


def report(error: Exception) -> None:
    """Prints the error on stderr."""
    from turnlog.infrastructure.cli.output import stderr  # noqa: PLC0415 rich, which `--help` does without

    stderr().say(f"error: {masked(str(error))}", style="red")
    if hint := hint_for(error):
        stderr().say(f"hint: {hint}", style="dim")
