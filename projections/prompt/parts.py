"""Content parts that are not text."""

from __future__ import annotations

import re
from typing import Any

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.+)", re.DOTALL)


def data_url(value: Any) -> tuple[str, str] | None:
    """The media type and the base64 text of a data URL."""
    match = _DATA_URL.fullmatch(value) if isinstance(value, str) else None
    return (match[1], match[2]) if match else None


def left_out(what: str) -> dict[str, Any]:
    """A text in place of what the API does not take, so that a user's message is not cut silently."""
    return {"type": "text", "text": f"({what} left out: this API does not take it)"}
