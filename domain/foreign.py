"""Foreign messages: what one message of another system's history says, in a normal form. Pure, and total.

A message is read as far as it can be; what does not fit is named as a flaw, and nothing raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

ForeignFormat = Literal["chat", "anthropic", "responses", "rows"]
ForeignRole = Literal["system", "developer", "user", "assistant", "function"]
Parts = tuple[dict[str, Any], ...]
ForeignContent = str | Parts | None


class ForeignCall(NamedTuple):
    """A tool call; what is missing is the empty string. `arguments` is text."""

    id: str
    name: str
    arguments: str


class ForeignMessage(NamedTuple):
    """A message that is not a tool result. `details` are thinking blocks and reasoning items, verbatim."""

    role: ForeignRole
    content: ForeignContent = None
    name: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    details: Parts = ()
    calls: tuple[ForeignCall, ...] = ()
    function_call: tuple[str, str] | None = None


class ForeignResult(NamedTuple):
    """A tool result."""

    call_id: str
    content: str | Parts
    is_error: bool = False
    name: str | None = None


class Flaw(NamedTuple):
    """What could not be read as it stands, in a sentence."""

    kind: str
    text: str


class Reading(NamedTuple):
    """What a message says: results and messages, in the order in which they count."""

    items: tuple[ForeignMessage | ForeignResult, ...]
    flaws: tuple[Flaw, ...]


def read_foreign(format: ForeignFormat, message: dict[str, Any]) -> Reading:  # noqa: A002 the field's name
    """Reads one message of a history in this format."""
    reader = _Reader(format)
    _READERS[format](reader, message)
    return Reading(tuple(reader.results + reader.items), tuple(reader.flaws))


class _Reader:
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
        blocks = _Blocks(self, "tool")
        blocks.read(content)
        if not blocks.found_results:
            self.results.append(ForeignResult(call_id, blocks.content() or "", False, self._name(message)))

    def _name(self, message: dict[str, Any]) -> str | None:
        return self.text(message.get("name"), "name") or None

    def _spoken(self, role: ForeignRole, message: dict[str, Any]) -> None:
        blocks = _Blocks(self, role)
        if role == "assistant":
            blocks.calls += self._calls(message)
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

    def _calls(self, message: dict[str, Any]) -> list[ForeignCall]:
        calls = message.get("tool_calls")
        if calls is None:
            return []
        if not isinstance(calls, list):
            self.flaw("bad_field", "tool_calls is not a list")
            return []
        if not calls:
            self.flaw("empty_tool_calls", "tool_calls is an empty list")
        read: list[ForeignCall] = []
        for call in calls:
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict):
                self.flaw("bad_field", "a tool call has no function")
                continue
            found = ForeignCall(
                self.text(call.get("id"), "tool_calls.id") or "",
                self.text(function.get("name"), "tool_calls.function.name") or "",
                _arguments(function.get("arguments")),
            )
            self.add_call(read, found)
        return read

    def add_call(self, calls: list[ForeignCall], call: ForeignCall, kind: str = "duplicate_call_id") -> None:
        if call.id and any(_is_same(call, other) for other in calls):
            self.flaw(kind, f"the call {call.id!r} stands twice in one message")
        else:
            calls.append(call)

    def _function_call(self, function: Any) -> tuple[str, str] | None:
        if function is None:
            return None
        if not isinstance(function, dict):
            self.flaw("bad_field", "function_call is not an object")
            return None
        return self.text(function.get("name"), "function_call.name") or "", _arguments(function.get("arguments"))

    # Rows of a relational store

    def row(self, row: dict[str, Any]) -> None:
        fields = {_snake(key): value for key, value in row.items()}
        message = {key: fields.get(key) for key in ("role", "content", "name", "refusal", "tool_call_id")}
        message["tool_calls"] = self._column(fields, "tool_calls", list) or None
        message["function_call"] = self._column(fields, "function_call", dict)
        content = message["content"]
        if isinstance(content, str) and content.startswith("["):
            parts = _parsed(content)
            is_parts = isinstance(parts, list) and parts and all(isinstance(p, dict) and "type" in p for p in parts)
            message["content"] = parts if is_parts else content
        self.message(message)

    def _column(self, fields: dict[str, Any], name: str, kind: type) -> Any:
        value = fields.get(name)
        if isinstance(value, str):
            parsed = _parsed(value) if value.strip() else None
            if parsed is _BROKEN:
                self.flaw("bad_field", f"the column {name} does not hold JSON")
                return None
            value = parsed
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
            call = ForeignCall(call_id or "", name or "", _arguments(given))
            self.items.append(ForeignMessage("assistant", calls=(call,)))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            blocks = _Blocks(self, "tool")
            blocks.read(item.get("output"))
            call_id = self.text(item.get("call_id"), "call_id")
            self.results.append(ForeignResult(call_id or "", blocks.content() or ""))
        elif kind == "reasoning":
            summary = "".join(part["text"] for part in _objects(item.get("summary")) if _is_text(part.get("text")))
            self.items.append(ForeignMessage("assistant", reasoning=summary or None, details=(item,)))
        else:
            self.flaw("unknown_item", f"an item of the type {kind!r} is not read")


class _Blocks:
    """The content of one message, block by block."""

    def __init__(self, reader: _Reader, role: str) -> None:
        self.reader = reader
        self.role = role
        self.parts: list[dict[str, Any]] = []
        self.whole: str | None = None
        self.calls: list[ForeignCall] = []
        self.details: list[dict[str, Any]] = []
        self.reasoning: list[str] = []
        self.found_results = False
        self.unfolded = False
        self.empty = False
        self._converted = reader.format in ("anthropic", "responses")

    def read(self, content: Any) -> None:
        if content is None or isinstance(content, str):
            self.whole = content
        elif isinstance(content, list):
            for block in content:
                self._block(block)
        else:
            self.reader.flaw("bad_field", "content is neither a text nor a list")

    def content(self) -> ForeignContent:
        if self.whole is not None or not self.parts:
            return self.whole
        only = self.parts[0]
        if self._converted and len(self.parts) == 1 and set(only) == {"type", "text"}:
            return str(only["text"])
        return tuple(self.parts)

    def _block(self, block: Any) -> None:
        if isinstance(block, dict) and "role" in block and "type" not in block:
            self.reader.flaw("bad_content_block", "a whole message stands in the content of another one")
            self.unfolded = True
            self.reader.message(block)
        elif isinstance(block, str) or (
            isinstance(block, dict) and "type" not in block and _is_text(block.get("text"))
        ):
            self.reader.flaw("bad_content_block", "a content block has no type")
            self.parts.append({"type": "text", "text": block if isinstance(block, str) else block["text"]})
        elif isinstance(block, dict) and isinstance(block.get("type"), str):
            self._typed(block["type"], block)
        else:
            self.reader.flaw("bad_content_block", "a content block cannot be read")

    def _typed(self, kind: str, block: dict[str, Any]) -> None:
        if kind in ("text", "input_text", "output_text"):
            self._text(kind, block)
        elif kind == "tool_use":
            self._tool_use(block)
        elif kind == "tool_result":
            self._tool_result(block)
        elif kind in ("thinking", "redacted_thinking"):
            self._thinking(kind, block)
        elif (part := _media(kind, block)) is not None:
            self.parts.append(part)
        elif kind == "refusal" and _is_text(block.get("refusal")):
            self.parts.append(block)
        else:
            self.reader.flaw("bad_content_block", f"a content block of the type {kind!r} is not read")

    def _text(self, kind: str, block: dict[str, Any]) -> None:
        text = block.get("text")
        if not _is_text(text):
            self.reader.flaw("bad_content_block", "a text block has no text")
            return
        if self.calls and self.reader.format == "anthropic":
            self.reader.flaw("text_after_call", "a text stands behind a tool call in one message")
        if not text and self.reader.format == "anthropic":
            self.empty = True
            return
        self.parts.append(block if kind == "text" else {"type": "text", "text": text})

    def _tool_use(self, block: dict[str, Any]) -> None:
        reader = self.reader
        name, call_id = reader.text(block.get("name"), "tool_use.name"), reader.text(block.get("id"), "tool_use.id")
        call = ForeignCall(call_id or "", name or "", _arguments(block.get("input")))
        if reader.format == "anthropic":
            reader.add_call(self.calls, call)
            return
        reader.flaw("foreign_block", "a tool_use block stands in the content of a chat message")
        self._converted = True
        if not any(_is_same(call, other) for other in self.calls):
            self.calls.append(call)

    def _tool_result(self, block: dict[str, Any]) -> None:
        reader = self.reader
        if reader.format != "anthropic" and self.role != "tool":
            reader.flaw("result_in_wrong_role", f"a tool result stands in a {self.role} message")
        elif reader.format == "anthropic" and self.parts:
            reader.flaw("result_not_first", "a tool result stands behind another block of its message")
        self.found_results = True
        inner = _Blocks(reader, "tool")
        inner.read(block.get("content"))
        call_id = reader.text(block.get("tool_use_id"), "tool_use_id") or ""
        reader.results.append(ForeignResult(call_id, inner.content() or "", block.get("is_error") is True))

    def _thinking(self, kind: str, block: dict[str, Any]) -> None:
        text = block.get("thinking") if kind == "thinking" else ""
        if _is_text(text) and text:
            self.reasoning.append(text)
        self._converted = True
        proof = (text and block.get("signature")) if kind == "thinking" else block.get("data")
        if not (_is_text(proof) and proof):
            self.reader.flaw("unsigned_thinking", "a thinking block has lost its text or its signature")
        elif (self.parts or self.calls) and not self.details:
            self.reader.flaw("misplaced_thinking", "a thinking block stands behind what it should come before")
        else:
            self.details.append(block)


_BROKEN: Any = object()
_OTHER_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant"}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _objects(value: Any) -> tuple[dict[str, Any], ...]:
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _arguments(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_same(call: ForeignCall, other: ForeignCall) -> bool:
    if (call.id, call.name) != (other.id, other.name):
        return False
    return call.arguments == other.arguments or _parsed(call.arguments) == _parsed(other.arguments) is not _BROKEN


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _BROKEN


def _snake(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key).lstrip("_")


def _media(kind: str, block: dict[str, Any]) -> dict[str, Any] | None:
    source = block.get("source")
    if kind in ("image_url", "input_audio", "file"):
        return block
    if kind == "input_image" and _is_text(block.get("image_url")):
        return {"type": "image_url", "image_url": {"url": block["image_url"]}}
    if kind == "input_file":
        return {"type": "file", "file": {key: value for key, value in block.items() if key != "type"}}
    if not isinstance(source, dict):
        return None
    if source.get("type") == "text":
        return {"type": "text", "text": str(source.get("data", ""))}
    data = f"data:{source.get('media_type')};base64,{source.get('data')}"
    url = source.get("url") if source.get("type") == "url" else data
    if kind == "image" and _is_text(url):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "document" and source.get("type") == "base64":
        return {"type": "file", "file": {"file_data": data, "filename": str(block.get("title") or "document")}}
    return None


_READERS: dict[ForeignFormat, Callable[[_Reader, dict[str, Any]], None]] = {
    "chat": _Reader.message,
    "anthropic": _Reader.message,
    "responses": _Reader.item,
    "rows": _Reader.row,
}
