"""Two texts as one: without anything between them, unless a repair says so."""

from __future__ import annotations

from typing import Any

from turnlog.domain.events import Content


def joined_text(first: str | None, second: str | None) -> str | None:
    """Both texts as one; None if there is neither."""
    return second if first is None else first + (second or "")


def joined_content(first: Content | None, second: Content | None, separator: str = "") -> Content | None:
    """Both contents as one: texts with `separator` between them; a text beside parts becomes a part."""
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}{separator}{second}"
    return (*_parts(first), *_parts(second))


def _parts(content: Content) -> tuple[dict[str, Any], ...]:
    return ({"type": "text", "text": content},) if isinstance(content, str) else content
