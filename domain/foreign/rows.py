"""Reads messages from the rows of a relational store."""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.blocks import are_blocks
from turnlog.domain.foreign.calls import BROKEN, parsed
from turnlog.domain.foreign.findings import Findings
from turnlog.domain.foreign.messages import read_message
from turnlog.domain.foreign.times import column_name

_COLUMNS = ("role", "content", "name", "refusal", "tool_call_id")


def read_row(found: Findings, row: dict[str, Any]) -> None:
    """Reads one row, by the names of its columns. Of two columns with one name the first that is not null counts."""
    columns = {column_name(key): value for key, value in reversed(row.items()) if value is not None}
    message = {key: columns.get(column_name(key)) for key in _COLUMNS}
    message["tool_calls"] = _json_column(found, columns, "tool_calls", list) or None
    message["function_call"] = _json_column(found, columns, "function_call", dict)
    content = message["content"]
    if isinstance(content, str) and content.startswith("["):
        parts = parsed(content)
        message["content"] = parts if are_blocks(parts) else content
    read_message(found, message)


def _json_column(found: Findings, columns: dict[str, Any], name: str, kind: type) -> Any:
    value = columns.get(column_name(name))
    if isinstance(value, str):
        value = parsed(value) if value.strip() else None
        if value is BROKEN:
            found.flaw("bad_field", f"the column {name} does not hold JSON")
            return None
    if value is None or isinstance(value, kind):
        return value
    found.flaw("bad_field", f"the column {name} holds a {type(value).__name__}")
    return None
