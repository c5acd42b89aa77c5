"""Reads messages of LangChain: dumped (`type` and `data`), serialised (`lc`, `id` and `kwargs`), or plain.

Sources: langchain_core.messages (`messages_to_dict`, `message_to_dict`), langchain_core.load, and the content blocks of
version 1. A message with a role and calls of LangChain's shape is read as one of Chat Completions is.
"""

from __future__ import annotations

import re
from typing import Any

from turnlog.domain.foreign.calls import arguments_text
from turnlog.domain.foreign.findings import Findings, kind_of, objects
from turnlog.domain.foreign.media import MEDIA, normal_part
from turnlog.domain.foreign.said import ROLES, Said
from turnlog.domain.quoting import quoted

Body = dict[str, Any]

_TYPES = frozenset({"human", "ai", "system", "developer", "tool", "function", "chat"})
_CLASS = re.compile(r"(Human|AI|System|Tool|Function|Chat)Message(Chunk)?")


def is_langchain(message: Body) -> bool:
    """Whether it is a message of LangChain, and of nobody else."""
    if "role" in message:
        return False
    kind, body = _opened(message)
    return kind in _TYPES and isinstance(body, dict) and ("content" in body or "tool_calls" in body)


def read_langchain(found: Findings, message: Body) -> None:
    """Reads one message."""
    kind, body = _opened(message)
    if not isinstance(body, dict):
        found.flaw("bad_field", "a message has no content")
        return
    role = body.get("role") if kind == "chat" else kind
    if role in ("tool", "function"):
        _read_result(found, body)
    elif isinstance(role, str) and role in ROLES:
        _read_spoken(Said(found, ROLES[role]), body)
    else:
        found.flaw("unknown_role", f"no API has the role {quoted(role)}")


def _opened(message: Body) -> tuple[str, Any]:
    """The type of the message, and the object with its fields."""
    path = message.get("id")
    if "lc" in message and isinstance(path, list) and path:
        kind, body = path[-1], message.get("kwargs")
    else:
        kind, body = message.get("type"), message.get("data", message)
    known = _CLASS.fullmatch(kind) if isinstance(kind, str) else None
    return (known[1].lower() if known else str(kind)), body


def _read_result(found: Findings, body: Body) -> None:
    said = Said(found, "user")
    content = (
        [_block(block) for block in body["content"]] if isinstance(body.get("content"), list) else body.get("content")
    )
    said.result(body.get("tool_call_id"), content, is_error=body.get("status") == "error", name=body.get("name"))
    said.step()


def _block(block: Any) -> Any:
    return {"type": "text", "text": block} if isinstance(block, str) else block


def _read_spoken(said: Said, body: Body) -> None:
    more = body.get("additional_kwargs")
    more = more if isinstance(more, dict) else {}
    if isinstance(thought := more.get("reasoning_content"), str):
        said.thought(thought)
    content = body.get("content")
    for block in content if isinstance(content, list) else [content] if content else []:
        _read_block(said, _block(block))
    for call in objects(body.get("tool_calls")) or objects(more.get("tool_calls")):
        _read_call(said, call)
    for call in objects(body.get("invalid_tool_calls")):
        _read_call(said, call)
    if isinstance(function := more.get("function_call"), dict):
        said.call(None, function.get("name"), function.get("arguments"))
    said.end()


def _read_call(said: Said, call: Body) -> None:
    function = call.get("function")
    held = function if isinstance(function, dict) else call
    said.call(call.get("id"), held.get("name"), held.get("args", held.get("arguments")))


def _read_block(said: Said, block: Any) -> None:
    """A content block of LangChain, or of the provider that the message came from."""
    kind = kind_of(block)
    match kind:
        case "text" | "output_text" | "input_text":
            said.text(block.get("text"))
        case "tool_use":
            said.call(block.get("id"), block.get("name"), block.get("input") or block.get("partial_json"))
        case "tool_call" | "function_call":
            _read_call(said, {**block, "id": block.get("call_id", block.get("id"))})
        case "tool_result":
            said.result(block.get("tool_use_id"), block.get("content"), is_error=block.get("is_error") is True)
        case "thinking":
            said.thought(block.get("thinking"), block.get("signature"))
        case "redacted_thinking":
            said.detail(block)
        case "reasoning":
            _read_reasoning(said, block)
        case _ if kind in MEDIA:
            said.part(normal_part(block), kind)
        case _:
            said.part(None, "block")


def _read_reasoning(said: Said, block: Body) -> None:
    extras = block.get("extras")
    signature = extras.get("signature") if isinstance(extras, dict) else block.get("signature")
    if isinstance(block.get("reasoning"), str):
        said.thought(block["reasoning"], signature)
        return
    said.thought("".join(arguments_text(part.get("text")) for part in objects(block.get("summary"))))
    if block.get("encrypted_content"):
        said.detail(block)
