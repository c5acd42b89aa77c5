"""Foreign messages: what one message of another system's history says, in a normal form. Pure, and total.

A message is read as far as it can be; what does not fit is named as a flaw, and nothing raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnlog.domain.foreign_blocks import Blocks, are_blocks
from turnlog.domain.foreign_types import (
    BROKEN,
    Calls,
    Flaw,
    ForeignCall,
    ForeignContent,
    ForeignFormat,
    ForeignMessage,
    ForeignResult,
    ForeignRole,
    Parts,
    Reading,
    arguments_text,
    parsed,
)

__all__ = [
    "ForeignCall",
    "ForeignContent",
    "ForeignFormat",
    "ForeignMessage",
    "ForeignResult",
    "ForeignRole",
    "Parts",
    "Reading",
    "read_foreign",
]


def read_foreign(format: ForeignFormat, message: dict[str, Any]) -> Reading:  # noqa: A002 the field's name
    """Reads one message of a history in this format."""
    reader = Reader(format)
    _READERS[format](reader, message)
    return Reading(tuple(reader.results + reader.items), tuple(reader.flaws))


class Reader:
    """Collects what a message says. Results go first: that is where every API wants them."""

    def __init__(self, format_: ForeignFormat) -> None:
        self.format = format_
        self.results: list[ForeignMessage | ForeignResult] = []
        self.items: list[ForeignMessage | ForeignResult] = []
        self.flaws: list[Flaw] = []

    def flaw(self, kind: str, text: str) -> None:
        self.flaws.append(Flaw(kind, text))

    def text(self, value: Any, field: str) -> str | None:
        if value is None or isinstance(value, str):
            return value
        self.flaw("bad_field", f"{field} is not a text")
        return None

    # Chat Completions, and Anthropic's messages, which differ in their blocks only

    def message(self, message: dict[str, Any]) -> None:
        role = self._role(message.get("role"))
        if role == "tool":
            self._tool(message)
        elif role is not None:
            self._spoken(role, message)

    def _role(self, role: Any) -> Any:
        if role in ("system", "developer", "user", "assistant", "tool", "function"):
            return role
        self.flaw("unknown_role", f"the role {role!r} is none that an API has")
        return _OTHER_ROLES.get(role) if isinstance(role, str) else None

    def _tool(self, message: dict[str, Any]) -> None:
        call_id = self.text(message.get("tool_call_id"), "tool_call_id") or ""
        content = message.get("content")
        blocks = Blocks(self, "tool")
        blocks.read(content)
        if not blocks.found_results:
            self.results.append(ForeignResult(call_id, blocks.content() or "", False, self._name(message)))

    def _name(self, message: dict[str, Any]) -> str | None:
        return self.text(message.get("name"), "name") or None

    def _spoken(self, role: ForeignRole, message: dict[str, Any]) -> None:
        blocks = Blocks(self, role)
        if role == "assistant":
            blocks.calls = self._calls(message)
        blocks.read(message.get("content"))
        says = ForeignMessage(role, blocks.content(), self._name(message))
        if role == "assistant":
            reasoning = message.get("reasoning_content") or message.get("reasoning")
            details = message.get("reasoning_details")
            says = says._replace(
                refusal=self.text(message.get("refusal"), "refusal") or None,
                reasoning=(self.text(reasoning, "reasoning") or "") + "".join(blocks.reasoning) or None,
                details=(*blocks.details, *_objects(details)),
                calls=tuple(blocks.calls),
                function_call=self._function_call(message.get("function_call")),
            )
        elif blocks.calls:
            self.flaw("bad_content_block", f"a {role} message holds tool calls")
        if blocks.empty and (says.content or says.calls):
            self.flaw("empty_text_block", "a text block is empty")
        has_only_others = blocks.found_results or blocks.unfolded
        if says.content or says.calls or not has_only_others:
            self.items.append(says)

    def _calls(self, message: dict[str, Any]) -> Calls:
        calls, read = message.get("tool_calls"), Calls()
        if calls is None:
            return read
        if not isinstance(calls, list):
            self.flaw("bad_field", "tool_calls is not a list")
            return read
        if not calls:
            self.flaw("empty_tool_calls", "tool_calls is an empty list")
        for call in calls:
            function = _function(call) if isinstance(call, dict) else None
            if not isinstance(function, dict):
                self.flaw("bad_field", "a tool call has no function")
                continue
            found = ForeignCall(
                self.text(call.get("id"), "tool_calls.id") or "",
                self.text(function.get("name"), "tool_calls.function.name") or "",
                arguments_text(function.get("arguments")),
            )
            self.add_call(read, found)
        return read

    def add_call(self, calls: Calls, call: ForeignCall) -> None:
        if call.id and call in calls:
            self.flaw("duplicate_call_id", f"the call {call.id!r} stands twice in one message")
        else:
            calls.add(call)

    def _function_call(self, function: Any) -> tuple[str, str] | None:
        if function is None:
            return None
        if not isinstance(function, dict):
            self.flaw("bad_field", "function_call is not an object")
            return None
        return self.text(function.get("name"), "function_call.name") or "", arguments_text(function.get("arguments"))

    # Rows of a relational store

    def row(self, row: dict[str, Any]) -> None:
        fields = {column_name(key): value for key, value in reversed(row.items()) if value is not None}
        message = {key: fields.get(column_name(key)) for key in _COLUMNS}
        message["tool_calls"] = self._column(fields, "tool_calls", list) or None
        message["function_call"] = self._column(fields, "function_call", dict)
        content = message["content"]
        if isinstance(content, str) and content.startswith("["):
            parts = parsed(content)
            message["content"] = parts if are_blocks(parts) else content
        self.message(message)

    def _column(self, fields: dict[str, Any], name: str, kind: type) -> Any:
        value = fields.get(column_name(name))
        if isinstance(value, str):
            value = parsed(value) if value.strip() else None
            if value is BROKEN:
                self.flaw("bad_field", f"the column {name} does not hold JSON")
                return None
        if value is None or isinstance(value, kind):
            return value
        self.flaw("bad_field", f"the column {name} holds a {type(value).__name__}")
        return None

    # Items of the Responses API

    def item(self, item: dict[str, Any]) -> None:
        kind = item.get("type", "message" if "role" in item else None)
        if kind == "message":
            self.message({"role": item.get("role"), "content": item.get("content")})
        elif kind in ("function_call", "custom_tool_call"):
            given = item.get("arguments") if kind == "function_call" else {"input": item.get("input")}
            call_id, name = self.text(item.get("call_id"), "call_id"), self.text(item.get("name"), "name")
            call = ForeignCall(call_id or "", name or "", arguments_text(given))
            self.items.append(ForeignMessage("assistant", calls=(call,)))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            blocks = Blocks(self, "tool")
            blocks.read(item.get("output"))
            call_id = self.text(item.get("call_id"), "call_id")
            self.results.append(ForeignResult(call_id or "", blocks.content() or ""))
        elif kind == "reasoning":
            summary = "".join(part["text"] for part in _objects(item.get("summary")) if _is_text(part.get("text")))
            self.items.append(ForeignMessage("assistant", reasoning=summary or None, details=(item,)))
        else:
            self.flaw("unknown_item", f"an item of the type {kind!r} is not read")


def _function(call: dict[str, Any]) -> Any:
    """A call's function. A custom tool has a text as its input, as in the Responses API."""
    custom = call.get("custom")
    if call.get("type") != "custom" or not isinstance(custom, dict):
        return call.get("function")
    return {"name": custom.get("name"), "arguments": {"input": custom.get("input")}}


_COLUMNS = ("role", "content", "name", "refusal", "tool_call_id")
_OTHER_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant"}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _objects(value: Any) -> tuple[dict[str, Any], ...]:
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def column_name(name: str) -> str:
    """A column's name as it is compared: databases fold the case, and there may be underscores or none."""
    return name.replace("_", "").lower()


_READERS: dict[ForeignFormat, Callable[[Reader, dict[str, Any]], None]] = {
    "chat": Reader.message,
    "anthropic": Reader.message,
    "responses": Reader.item,
    "rows": Reader.row,
}
