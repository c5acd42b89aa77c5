"""Messages in the shape of the conventions, for spans that have content: a role, and parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from turnlog.domain.events import (
    FunctionCallDelta,
    ReasoningDelta,
    RefusalDelta,
    SessionEvent,
    TextDelta,
    ToolCallArgumentsDelta,
    ToolCallNamed,
    ToolCallStarted,
)

MAX_CHARACTERS = 128 * 1024
"""Characters of one attribute with content, at most. Exporters and back ends take no more, and often less."""


def prompt_json(prompt: Any) -> str:
    """The messages of a prompt, of any API, as JSON. It is cut off where it is too long."""
    if isinstance(prompt, dict):
        system = [{"role": "system", "content": prompt["system"]}] if prompt.get("system") else []
        messages = [*system, *prompt.get("messages", ())]
    else:
        messages = prompt if isinstance(prompt, list) else []
    return cut(json.dumps([_message(message) for message in messages], default=str))


def cut(text: str) -> str:
    """At most MAX_CHARACTERS of it."""
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."


def _message(message: Any) -> dict[str, Any]:
    """One message of Chat Completions or Anthropic's, or one item of the Responses API."""
    if not isinstance(message, dict):
        return {"role": "user", "parts": [_text(message)]}
    role = message.get("role") or ("tool" if message.get("type") == "function_call_output" else "assistant")
    return {"role": role, "parts": list(_parts(message))}


def _parts(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    if message.get("role") == "tool":
        yield {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}
    elif isinstance(content, str):
        yield _text(content)
    elif isinstance(content, list):
        yield from map(_block, content)
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call.get("custom") or {}
        yield _call(call.get("id"), function.get("name"), function.get("arguments", function.get("input")))
    if "role" not in message:
        yield _block(message)


def _block(block: Any) -> dict[str, Any]:
    if not isinstance(block, dict):
        return _text(block)
    match block.get("type"):
        case "text" | "input_text" | "output_text":
            return _text(block.get("text"))
        case "tool_use":
            return _call(block.get("id"), block.get("name"), block.get("input"))
        case "function_call":
            return _call(block.get("call_id"), block.get("name"), block.get("arguments"))
        case "tool_result":
            return {"type": "tool_call_response", "id": block.get("tool_use_id"), "response": block.get("content")}
        case "function_call_output":
            return {"type": "tool_call_response", "id": block.get("call_id"), "response": block.get("output")}
        case kind:
            return {**block, "type": kind or "unknown"}


def _text(text: Any) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


class Said:
    """An answer as it is stored, up to MAX_CHARACTERS of it."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {"text": [], "reasoning": [], "refusal": []}
        self._calls: dict[int, dict[str, Any]] = {}
        self._left = MAX_CHARACTERS

    def add(self, event: SessionEvent) -> None:
        """Adds what a delta says."""
        match event:
            case TextDelta(text=text):
                self._say("text", text)
            case ReasoningDelta(text=text):
                self._say("reasoning", text)
            case RefusalDelta(text=text):
                self._say("refusal", text)
            case ToolCallStarted(index=index, id=call_id, name=name):
                self._calls[index] = _call(call_id, name, "")
            case ToolCallNamed(index=index, id=call_id, name=name) if index in self._calls:
                self._calls[index].update(id=call_id, name=name)
            case ToolCallArgumentsDelta(index=index, arguments=arguments):
                self._argue(index, "", arguments)
            case FunctionCallDelta(name=name, arguments=arguments):
                self._argue(-1, name, arguments)

    def json(self, finish_reason: str | None) -> str:
        """The message of the answer."""
        parts = [{"type": kind, "content": "".join(texts)} for kind, texts in self._texts.items() if texts]
        parts += self._calls.values()
        return json.dumps([{"role": "assistant", "parts": parts, "finish_reason": finish_reason or "unknown"}])

    def _say(self, kind: str, text: str) -> None:
        if self._left > 0:
            self._texts[kind].append(text[: self._left])
            self._left -= len(text)

    def _argue(self, index: int, name: str, arguments: str) -> None:
        call = self._calls.setdefault(index, _call(None, name, ""))
        if self._left > 0:
            call["arguments"] += arguments[: self._left]
            self._left -= len(arguments)
