"""The content of a foreign message, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnlog.domain.foreign_types import Calls, ForeignCall, ForeignContent, ForeignResult, arguments_text

if TYPE_CHECKING:
    from turnlog.domain.foreign import Reader


_MEDIA = frozenset({"image_url", "input_image", "input_audio", "file", "input_file", "image", "document"})
"""No API takes them of an assistant, and Chat Completions takes them of a user only."""


class Blocks:
    """The content of one message, block by block."""

    def __init__(self, reader: Reader, role: str) -> None:
        self.reader = reader
        self.role = role
        self.parts: list[dict[str, Any]] = []
        self.whole: str | None = None
        self.calls = Calls()
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
        elif kind in _MEDIA and (part := _media(kind, block)) is not None:
            if self.role == "assistant" or (self.role != "user" and not self._converted):
                self.reader.flaw("bad_content_block", f"{kind} stands in a {self.role} message, which holds text only")
            self.parts.append(part)
        elif kind == "refusal" and _is_text(block.get("refusal")):
            self.parts.append(block)
        else:
            self.reader.flaw("bad_content_block", f"a content block of the type {kind!r} is not read")
            if kind in _MEDIA and self.role != "assistant":
                self.parts.append(block)  # a prompt has a note in its place

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
        call = ForeignCall(call_id or "", name or "", arguments_text(block.get("input")))
        if reader.format == "anthropic":
            reader.add_call(self.calls, call)
            return
        reader.flaw("foreign_block", "a tool_use block stands in the content of a chat message")
        self._converted = True
        if call not in self.calls:
            self.calls.add(call)

    def _tool_result(self, block: dict[str, Any]) -> None:
        reader = self.reader
        if reader.format != "anthropic" and self.role != "tool":
            reader.flaw("result_in_wrong_role", f"a tool result stands in a {self.role} message")
        elif reader.format == "anthropic" and self.parts:
            reader.flaw("result_not_first", "a tool result stands behind another block of its message")
        self.found_results = True
        inner = Blocks(reader, "tool")
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


def are_blocks(value: Any) -> bool:
    """Whether a JSON value is the content of a message, block by block, and not a list that a tool has answered or a
    user has written: there, too, an object may have a `type`."""
    return isinstance(value, list) and bool(value) and all(map(_is_block, value))


def _is_block(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(kind := value.get("type"), str):
        return False
    if kind in _HELD:
        return isinstance(value.get(_HELD[kind]), str)
    return _media(kind, value) is not None if kind in _MEDIA else False


_HELD = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
    "redacted_thinking": "data",
    "tool_use": "name",
    "tool_result": "tool_use_id",
}
"""The field that a block of each of these types must have."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _media(kind: str, block: dict[str, Any]) -> dict[str, Any] | None:
    """A part that is not text, in the Chat Completions shape; None where it cannot be read."""
    if kind in ("image_url", "input_image"):
        image = block.get("image_url")
        if isinstance(image, str):
            return _image(image, block.get("detail"))
        return block if is_readable_part(block) else None
    if kind == "input_file":
        block = {"type": "file", "file": {key: value for key, value in block.items() if key != "type"}}
    if kind in ("input_audio", "file", "input_file"):
        return block if is_readable_part(block) else None
    source = block.get("source")
    return _sourced(kind, source, block.get("title")) if isinstance(source, dict) else None


def _sourced(kind: str, source: dict[str, Any], title: Any) -> dict[str, Any] | None:
    """An image or document of Anthropic's."""
    url, data = source.get("url"), source.get("data")
    if kind == "document" and source.get("type") == "text" and _is_text(data):
        return {"type": "text", "text": data}
    name = {"filename": title} if _is_text(title) and title else {}
    if source.get("type") == "url" and isinstance(url, str) and url:
        return _image(url) if kind == "image" else {"type": "file", "file": {"file_url": url, **name}}
    if source.get("type") != "base64" or not (_is_text(source.get("media_type")) and _is_text(data)):
        return None
    embedded = f"data:{source['media_type']};base64,{data}"
    return _image(embedded) if kind == "image" else {"type": "file", "file": {"file_data": embedded, **name}}


def _image(url: str, detail: Any = None) -> dict[str, Any] | None:
    image = {"url": url, "detail": detail} if _is_filled(detail) and detail != "auto" else {"url": url}
    return {"type": "image_url", "image_url": image} if url else None


def is_readable_part(part: dict[str, Any]) -> bool:
    """Whether a content part in the Chat Completions shape holds what its type says."""
    kind = part.get("type")
    held = part.get(str(kind))
    if kind in ("text", "refusal"):
        return _is_text(held) and held != ""
    if not isinstance(held, dict):
        return kind == "image_url" and _is_text(held) and held != ""
    if kind == "image_url":
        return _is_filled(held.get("url"))
    if kind == "input_audio":
        return _is_filled(held.get("data")) and _is_filled(held.get("format"))
    return kind == "file" and any(_is_filled(held.get(key)) for key in ("file_id", "file_data", "file_url"))


def _is_filled(value: Any) -> bool:
    return _is_text(value) and value != ""
