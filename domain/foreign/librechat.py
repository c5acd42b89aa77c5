"""Reads messages of LibreChat, as its export and its database have them.

Source: github.com/danny-avila/LibreChat, packages/data-provider (`TMessage`, `TMessageContentParts`).
"""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.findings import Findings, kind_of, objects
from turnlog.domain.foreign.media import MEDIA, normal_part
from turnlog.domain.foreign.said import Said
from turnlog.domain.quoting import quoted

Body = dict[str, Any]


def is_librechat(message: Body) -> bool:
    """Whether it is a message of LibreChat, and of nobody else."""
    return "isCreatedByUser" in message or ("messageId" in message and ("text" in message or "content" in message))


def read_librechat(found: Findings, message: Body) -> None:
    """Reads one message."""
    is_users = message.get("isCreatedByUser")
    if not isinstance(is_users, bool):
        is_users = str(message.get("sender")).lower() == "user"
    said = Said(found, "user" if is_users else "assistant")
    for file in objects(message.get("files")):
        text = file.get("text")
        if isinstance(text, str) and text.strip():
            said.part({"type": "document", "source": {"type": "text", "data": text}, "title": file.get("filename")})
        else:
            said.part(None, "image" if str(file.get("type")).startswith("image/") else "file")
    blocks = objects(message.get("content"))
    for block in blocks:
        _read_block(found, said, block)
    if not blocks:
        said.text(message.get("text"))
    if message.get("error") is True and not is_users:
        found.items.clear()  # what a page shows in the place of an answer that failed
        found.flaw("empty_message", "the answer has failed")
        return
    said.end()


def _read_block(found: Findings, said: Said, block: Body) -> None:
    kind = kind_of(block)
    held = block.get(kind)
    match kind:
        case "text" | "think":
            held = held if held is not None else block.get("think", block.get("text"))
            text = held.get("value") if isinstance(held, dict) else held
            said.text(text) if kind == "text" and "think" not in block else said.thought(text)
        case "tool_call" if isinstance(held, dict):
            _read_call(said, held)
        case "error" | "agent_update":
            found.flaw("bad_content_block", f"a content block of the type {quoted(kind)} is not sent")
        case "image_file":
            said.part(None, "image")
        case _ if kind in MEDIA:
            said.part(normal_part(block), kind)
        case _:
            found.flaw("bad_content_block", f"a content block of the type {quoted(kind)} is not read")


def _read_call(said: Said, call: Body) -> None:
    """A call with its output, or one of OpenAI's Assistants, which has a function or an interpreter inside."""
    inner = call.get(kind_of(call))
    held = {**call, **inner} if isinstance(inner, dict) else call
    name = held.get("name") or call.get("type")
    said.call(held.get("id"), name, held.get("args", held.get("arguments", held.get("input"))))
    output = held.get("output", held.get("outputs"))
    if output is not None:
        said.result(held.get("id"), output, name=name)
