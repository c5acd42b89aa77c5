"""Reads Pydantic AI's ModelMessages, as `ModelMessagesTypeAdapter` writes them.

Source: pydantic_ai.messages, versions 0 and 1.
"""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.calls import arguments_text
from turnlog.domain.foreign.findings import Findings, kind_of, objects
from turnlog.domain.foreign.media import media_of
from turnlog.domain.foreign.said import Said
from turnlog.domain.quoting import quoted

Part = dict[str, Any]

_ANY_TYPE = {"image-url": "image/png", "audio-url": "audio/wav", "video-url": "video/mp4"}


def is_pydantic_ai(message: Part) -> bool:
    """Whether it is a request or a response of Pydantic AI, and of nobody else."""
    return message.get("kind") in ("request", "response") and isinstance(message.get("parts"), list)


def read_pydantic_ai(found: Findings, message: Part) -> None:
    """Reads one message. A request may hold several of ours."""
    if message.get("kind") == "response":
        _read_response(found, message)
        return
    for part in objects(message.get("parts")):
        _read_request_part(found, part)


def _read_request_part(found: Findings, part: Part) -> None:
    kind, content = kind_of(part, "part_kind"), part.get("content")
    if kind == "system-prompt":
        said = Said(found, "system")
        said.text(content)
        said.end()
    elif kind == "user-prompt":
        said = Said(found, "user")
        for item in content if isinstance(content, list) else [content]:
            _read_content(said, item)
        said.end()
    elif kind == "tool-return" or (kind == "retry-prompt" and part.get("tool_name")):
        said = Said(found, "user")
        is_error = kind == "retry-prompt" or part.get("outcome") in ("failed", "denied")
        said.result(part.get("tool_call_id"), _returned(content), is_error=is_error, name=part.get("tool_name"))
        said.step()
    elif kind == "retry-prompt":
        said = Said(found, "user")
        said.text(arguments_text(content))
        said.end()
    else:
        found.flaw("bad_content_block", f"a part of the kind {quoted(kind)} is not read")


def _read_response(found: Findings, message: Part) -> None:
    said = Said(found, "assistant")
    for part in objects(message.get("parts")):
        match part.get("part_kind"):
            case "text":
                said.text(part.get("content"))
            case "thinking":
                _read_thinking(said, part, message)
            case "tool-call" | "builtin-tool-call":
                said.call(part.get("tool_call_id"), part.get("tool_name"), part.get("args"))
            case "builtin-tool-return":
                said.result(part.get("tool_call_id"), _returned(part.get("content")), name=part.get("tool_name"))
            case "file":
                _read_content(said, part.get("content"))
            case kind:
                found.flaw("bad_content_block", f"a part of the kind {quoted(kind)} is not read")
    said.end()


def _read_thinking(said: Said, part: Part, message: Part) -> None:
    provider, signature = part.get("provider_name") or message.get("provider_name"), part.get("signature")
    content = part.get("content")
    if part.get("id") == "redacted_thinking" and signature:
        said.detail({"type": "redacted_thinking", "data": signature})
    elif provider == "openai" and signature:
        summary = [{"type": "summary_text", "text": content}] if isinstance(content, str) and content else []
        said.detail({"type": "reasoning", "id": part.get("id"), "summary": summary, "encrypted_content": signature})
        said.thought(content)
    else:
        said.thought(content, signature if provider in (None, "anthropic", "bedrock") else None)


def _read_content(said: Said, item: Any) -> None:
    """An item of a user's prompt: a text, or an image, audio or a file by URL or as data."""
    if isinstance(item, dict) and item.get("kind") in ("text", "text-content"):
        item = item.get("content", item.get("text"))
    if isinstance(item, dict) and item.get("kind") != "cache-point":
        said.part(_file(item), str(item.get("kind")))
    elif not isinstance(item, dict):
        said.text(item)


def _file(item: Part) -> Part | None:
    mime = item.get("media_type") or _ANY_TYPE.get(str(item.get("kind")))
    name = item.get("identifier")
    return media_of(mime if isinstance(mime, str) else None, item.get("data"), item.get("url"), name)


def _returned(content: Any) -> Any:
    """What a tool has returned. Binary content in a list is an image or a file."""
    listed = content if isinstance(content, list) else [content]
    if not any(isinstance(item, dict) and kind_of(item, "kind") in ("binary", *_ANY_TYPE) for item in listed):
        return content
    read = [_file(item) if isinstance(item, dict) else None for item in listed]
    pairs = zip(listed, read, strict=True)
    return [part or {"type": "text", "text": item if isinstance(item, str) else str(item)} for item, part in pairs]
