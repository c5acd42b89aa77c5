"""Foreign messages: what one message of another system's history says, in a normal form. Pure, and total.

A message is read as far as possible. What does not fit is reported as a flaw; nothing raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnlog.domain.foreign.documents import OWN_PARTS
from turnlog.domain.foreign.findings import Findings
from turnlog.domain.foreign.items import read_item
from turnlog.domain.foreign.media import is_block, is_readable_part, normal_part, portable
from turnlog.domain.foreign.messages import read_message
from turnlog.domain.foreign.rows import column_name, read_row
from turnlog.domain.foreign.values import (
    ForeignCall,
    ForeignContent,
    ForeignFormat,
    ForeignMessage,
    ForeignResult,
    ForeignRole,
    Parts,
    Reading,
)

__all__ = [
    "OWN_PARTS",
    "ForeignCall",
    "ForeignContent",
    "ForeignFormat",
    "ForeignMessage",
    "ForeignResult",
    "ForeignRole",
    "Parts",
    "Reading",
    "column_name",
    "is_block",
    "is_readable_part",
    "normal_part",
    "portable",
    "read_foreign",
]

_READERS: dict[ForeignFormat, Callable[[Findings, dict[str, Any]], None]] = {
    "chat": read_message,
    "anthropic": read_message,
    "responses": read_item,
    "rows": read_row,
}


def read_foreign(format: ForeignFormat, message: dict[str, Any]) -> Reading:  # noqa: A002 the field's name
    """Reads one message of a history in this format."""
    found = Findings(format)
    _READERS[format](found, message)
    return found.reading()
