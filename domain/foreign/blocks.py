"""The content of a foreign message, block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnlog.domain.foreign.calls import Calls, arguments_text
from turnlog.domain.foreign.findings import Findings
from turnlog.domain.foreign.layout import may_be_type, server_kind
from turnlog.domain.foreign.media import MEDIA, is_block, media_part
from turnlog.domain.foreign.values import OWN_BLOCK, ForeignCall, ForeignContent, ForeignResult, api_of
from turnlog.domain.parts import PartKind, PartMark
from turnlog.domain.quoting import quoted

_REQUIRED = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
    "redacted_thinking": "data",
    "tool_use": "name",
    "tool_result": "tool_use_id",
}
"""The field that a block of each of these types must have, a text."""


ReadMessage = Callable[[Findings, dict[str, Any]], None]


class Blocks:
    """The content of one message. `read_message` reads a message that is found inside the content.

    `calls` are the tool calls of the message, `details` its thinking blocks, verbatim, and `reasoning` their texts.
    `marks` are the parts of an assistant message, in order.
    """

    def __init__(self, found: Findings, role: str, read_message: ReadMessage, calls: Calls | None = None) -> None:
        self.calls = Calls() if calls is None else calls
        self.details: list[dict[str, Any]] = []
        self.reasoning: list[str] = []
        self.marks: list[PartMark] = []
        self.has_results = False
        self.has_messages = False
        self.has_empty_text = False
        self._found = found
        self._role = role
        self._read_message = read_message
        self._parts: list[dict[str, Any]] = []
        self._text: str | None = None
        self._is_converted = found.format in ("anthropic", "responses")

    def read(self, content: Any) -> None:
        """Reads the content: a text, or a list of blocks."""
        if content is None or isinstance(content, str):
            self._text = content
        elif isinstance(content, list):
            for block in content:
                self._block(block)
        else:
            self._found.flaw("bad_field", "content is neither a text nor a list")

    def content(self) -> ForeignContent:
        """What was read, without calls, results and thinking, in the Chat Completions shape."""
        if self._text is not None or not self._parts:
            return self._text
        only = self._parts[0]
        if self._is_converted and len(self._parts) == 1 and set(only) == {"type", "text"}:
            return str(only["text"])
        return tuple(self._parts)

    def _mark(
        self, kind: PartKind, block: dict[str, Any], *read: str, text: str | None = None, call: int | None = None
    ) -> None:
        """Notes a part. What is `read` of its block stands elsewhere."""
        data = {key: value for key, value in block.items() if key not in read}
        self.marks.append(PartMark(kind=kind, api=api_of(self._found.format), text=text, call=call, data=data))

    def _block(self, block: Any) -> None:
        if isinstance(block, dict) and "role" in block and "type" not in block:
            self._found.flaw("bad_content_block", "the content of a message holds another message")
            self.has_messages = True
            self._read_message(self._found, block)
        elif isinstance(block, str) or (
            isinstance(block, dict) and "type" not in block and isinstance(block.get("text"), str)
        ):
            self._found.flaw("bad_content_block", "a content block has no type")
            self._parts.append({"type": "text", "text": block if isinstance(block, str) else block["text"]})
        elif isinstance(block, dict) and isinstance(block.get("type"), str):
            self._typed(block["type"], block)
        else:
            self._found.flaw("bad_content_block", "a content block cannot be read")

    def _typed(self, kind: str, block: dict[str, Any]) -> None:
        if kind in ("text", "input_text", "output_text"):
            self._read_text(kind, block)
        elif kind == "tool_use":
            self._tool_use(block)
        elif kind == "tool_result":
            self._tool_result(block)
        elif kind in ("thinking", "redacted_thinking"):
            self._thinking(kind, block)
        elif kind in MEDIA and (part := media_part(kind, block)) is not None:
            if self._role == "assistant" or (self._role != "user" and not self._is_converted):
                self._found.flaw("bad_content_block", f"{kind} is in a {self._role} message, which can hold only text")
            self._parts.append(part)
        elif kind == "refusal" and isinstance(block.get("refusal"), str):
            self._parts.append(block)
            self._mark("refusal", block, "type", "refusal", text=block["refusal"])
        elif self._role == "assistant" and self._found.format == "anthropic" and self._is_its_own(kind):
            self._mark(server_kind(kind), block)
        elif self._role != "assistant" and self._is_converted and self._is_its_own(kind):
            self._parts.append({"type": OWN_BLOCK, "api": api_of(self._found.format), "block": block})
        else:
            self._found.flaw("bad_content_block", f"a content block of the type {quoted(kind)} is not read")
            if kind in MEDIA and self._role != "assistant":
                self._parts.append(block)  # a prompt puts a note here

    def _is_its_own(self, kind: str) -> bool:
        """Whether a block is something that only the API it comes from knows."""
        return kind not in MEDIA | _REQUIRED.keys() and may_be_type(kind)

    def _read_text(self, kind: str, block: dict[str, Any]) -> None:
        text = block.get("text")
        if not isinstance(text, str):
            self._found.flaw("bad_content_block", "a text block has no text")
            return
        if self.calls and self._found.format == "anthropic":
            self._found.flaw("text_after_call", "a text follows a tool call in the same message")
        if not text and self._found.format == "anthropic":
            self.has_empty_text = True
            return
        self._mark("text", block, "type", "text", text=text)
        self._parts.append(block if kind == "text" else {"type": "text", "text": text})

    def _tool_use(self, block: dict[str, Any]) -> None:
        found = self._found
        name, call_id = found.text(block.get("name"), "tool_use.name"), found.text(block.get("id"), "tool_use.id")
        call = ForeignCall(call_id or "", name or "", arguments_text(block.get("input")))
        if found.format == "anthropic":
            number = len(self.calls)
            if found.add_call(self.calls, call):
                self._mark("tool_call", block, "type", "id", "name", "input", call=number)
                if "extra_content" in block:  # a signature that goes back beside a call of Chat Completions
                    self.marks[-1] = self.marks[-1].model_copy(update={"api": "chat"})
            return
        found.flaw("foreign_block", "the content of a chat message holds a tool_use block")
        self._is_converted = True
        if call not in self.calls:
            self.calls.add(call)

    def _tool_result(self, block: dict[str, Any]) -> None:
        found = self._found
        if found.format != "anthropic" and self._role != "tool":
            found.flaw("result_in_wrong_role", f"a {self._role} message holds a tool result")
        elif found.format == "anthropic" and self._parts:
            found.flaw("result_not_first", "a tool result follows another block of its message")
        self.has_results = True
        inner = Blocks(found, "tool", self._read_message)
        inner.read(block.get("content"))
        call_id = found.text(block.get("tool_use_id"), "tool_use_id") or ""
        data = {key: value for key, value in block.items() if key not in _RESULT_FIELDS}
        found.results.append(ForeignResult(call_id, inner.content() or "", block.get("is_error") is True, data=data))

    def _thinking(self, kind: str, block: dict[str, Any]) -> None:
        text = block.get("thinking") if kind == "thinking" else ""
        if isinstance(text, str) and text:
            self.reasoning.append(text)
        self._is_converted = True
        proof = (text and block.get("signature")) if kind == "thinking" else block.get("data")
        if not (isinstance(proof, str) and proof):
            self._found.flaw("unsigned_thinking", "a thinking block has lost its text or its signature")
        elif (self._parts or self.calls) and not self.details and not self._server_has_worked():
            self._found.flaw("misplaced_thinking", "a thinking block follows what it belongs before")
        else:
            self.details.append(block)
            self._mark("reasoning", block, "thinking", text=text if isinstance(text, str) else "")
            return
        # It is read, and not sent.
        self.marks.append(PartMark(kind="reasoning", text=text if isinstance(text, str) else ""))

    def _server_has_worked(self) -> bool:
        """Whether a tool of the provider was run before: the model thinks again then."""
        return any(mark.kind == "server_call" for mark in self.marks)


_RESULT_FIELDS = ("type", "tool_use_id", "content", "is_error")


def are_blocks(value: Any) -> bool:
    """Whether a JSON value is the content of a message, and not a list that a tool returned or a user wrote: objects
    in those may have a `type`, too."""
    return isinstance(value, list) and bool(value) and all(map(_is_block, value))


def _is_block(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(kind := value.get("type"), str):
        return False
    if kind in _REQUIRED:
        return isinstance(value.get(_REQUIRED[kind]), str)
    return kind in MEDIA and is_block(value)
