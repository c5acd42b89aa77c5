"""Chunks of a provider's stream as lines: one as JSON in each, or server-sent events with one in each `data:` line."""

from __future__ import annotations

import json
from typing import Any

from turnlog.domain.errors import InvalidInputError

DONE = b"[DONE]"
NO_CHUNK = (b":", b"event:", b"id:", b"retry:")
"""Beginnings of the lines of server-sent events that hold no chunk: comments, and other fields."""


def chunk_of(line: bytes, number: int) -> dict[str, Any] | None:
    """The chunk of a line; None where it has none. Raises InvalidInputError, with the number of the line."""
    if line.startswith(NO_CHUNK):
        return None
    payload = line.removeprefix(b"data:").strip()
    return _chunk(payload, f"line {number}") if payload and payload != DONE else None


def _chunk(payload: bytes, where: str) -> dict[str, Any]:
    try:
        chunk = json.loads(payload)
    except json.JSONDecodeError as error:
        raise InvalidInputError(where, f"is not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number may have too many digits
        raise InvalidInputError(where, f"is not JSON: {error}") from error
    if not isinstance(chunk, dict):
        raise InvalidInputError(where, f"is not a JSON object but a {type(chunk).__name__}")
    return chunk
