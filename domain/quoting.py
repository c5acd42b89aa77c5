"""How errors and faults quote what they are about: never more than a little of it."""

from __future__ import annotations

from typing import Any

QUOTED = 100
"""Characters of an input that are repeated, at most."""


def quoted(value: Any) -> str:
    """The value, or its beginning, or only its type."""
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= QUOTED else f"{value[:QUOTED]!r}..."
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() <= QUOTED):
        return repr(value)
    return f"a {type(value).__name__}"


def cut(text: str, length: int = QUOTED) -> str:
    """The text, or its beginning."""
    return text if len(text) <= length else f"{text[:length]}..."
