"""Reads items of the Responses API."""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.calls import arguments_text
from turnlog.domain.foreign.findings import Findings, objects
from turnlog.domain.foreign.layout import may_be_type, server_kind, usual_marks
from turnlog.domain.foreign.messages import read_blocks, read_message
from turnlog.domain.foreign.values import ForeignCall, ForeignMessage, ForeignResult
from turnlog.domain.parts import PartMark
from turnlog.domain.quoting import quoted


def read_item(found: Findings, item: dict[str, Any]) -> None:
    """Reads one item. One without a type is a message if it has a role, as in the API."""
    kind = item.get("type", "message" if "role" in item else None)
    if kind == "message":
        read_message(found, {"role": item.get("role"), "content": item.get("content")})
        _with_item(found, item)
    elif kind in ("function_call", "custom_tool_call"):
        is_custom = kind == "custom_tool_call"
        given = item.get("input") if is_custom else item.get("arguments")
        call_id, name = found.text(item.get("call_id"), "call_id"), found.text(item.get("name"), "name")
        call = ForeignCall(call_id or "", name or "", arguments_text(given), is_custom)
        mark = PartMark(kind="tool_call", api="responses", call=0, data=_without(item, *_CALL_FIELDS))
        found.items.append(ForeignMessage("assistant", calls=(call,), layout=(mark,)))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        blocks = read_blocks(found, "tool", item.get("output"))
        call_id = found.text(item.get("call_id"), "call_id")
        found.results.append(ForeignResult(call_id or "", blocks.content() or ""))
    elif kind == "reasoning":
        texts = (part.get("text") for part in objects(item.get("summary")))
        summary = "".join(text for text in texts if isinstance(text, str))
        mark = PartMark(kind="reasoning", api="responses", text=summary, data=item)
        found.items.append(ForeignMessage("assistant", reasoning=summary or None, details=(item,), layout=(mark,)))
    elif isinstance(kind, str) and may_be_type(kind):
        mark = PartMark(kind=server_kind(kind), api="responses", data=item)
        found.items.append(ForeignMessage("assistant", layout=(mark,)))
    else:
        found.flaw("unknown_item", f"an item of the type {quoted(kind)} is not read")


_CALL_FIELDS = ("type", "call_id", "name", "arguments", "input")


def _without(item: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in fields}


def _with_item(found: Findings, item: dict[str, Any]) -> None:
    """Says of the parts of an assistant message which item they are from: its id, and its phase."""
    last = found.items[-1] if found.items else None
    if not isinstance(last, ForeignMessage) or last.role != "assistant":
        return
    of_item = _without(item, "type", "role", "content")
    marks = last.layout or tuple(usual_marks(last))
    if of_item and marks:
        first = marks[0].model_copy(update={"api": "responses", "data": {**marks[0].data, "item": of_item}})
        found.items[-1] = last._replace(layout=(first, *marks[1:]))
