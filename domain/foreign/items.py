"""Reads items of the Responses API."""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.calls import arguments_text
from turnlog.domain.foreign.findings import Findings, objects
from turnlog.domain.foreign.messages import read_blocks, read_message
from turnlog.domain.foreign.values import ForeignCall, ForeignMessage, ForeignResult
from turnlog.domain.quoting import quoted


def read_item(found: Findings, item: dict[str, Any]) -> None:
    """Reads one item. One without a type is a message if it has a role, as in the API."""
    kind = item.get("type", "message" if "role" in item else None)
    if kind == "message":
        read_message(found, {"role": item.get("role"), "content": item.get("content")})
    elif kind in ("function_call", "custom_tool_call"):
        given = item.get("arguments") if kind == "function_call" else {"input": item.get("input")}
        call_id, name = found.text(item.get("call_id"), "call_id"), found.text(item.get("name"), "name")
        call = ForeignCall(call_id or "", name or "", arguments_text(given))
        found.items.append(ForeignMessage("assistant", calls=(call,)))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        blocks = read_blocks(found, "tool", item.get("output"))
        call_id = found.text(item.get("call_id"), "call_id")
        found.results.append(ForeignResult(call_id or "", blocks.content() or ""))
    elif kind == "reasoning":
        texts = (part.get("text") for part in objects(item.get("summary")))
        summary = "".join(text for text in texts if isinstance(text, str))
        found.items.append(ForeignMessage("assistant", reasoning=summary or None, details=(item,)))
    else:
        found.flaw("unknown_item", f"an item of the type {quoted(kind)} is not read")
