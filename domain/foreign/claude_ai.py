"""Reads messages of Claude.ai's export, `conversations.json`: calls of tools stand beside their results in one message.

The format has no description; this is what exports since 2024 hold.
"""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.findings import Findings, kind_of, objects
from turnlog.domain.foreign.media import MEDIA, normal_part
from turnlog.domain.foreign.said import ROLES, Said
from turnlog.domain.quoting import quoted

Body = dict[str, Any]

_SHOWN = frozenset({"token_budget", "flag", "voice_note", "citation"})
"""What a page shows, and the model does not say."""


def is_claude_ai(message: Body) -> bool:
    """Whether it is a message of Claude.ai's export, and of nobody else."""
    return message.get("sender") in ("human", "assistant") and ("text" in message or "content" in message)


def read_claude_ai(found: Findings, message: Body) -> None:
    """Reads one message."""
    role = ROLES.get(str(message.get("sender")))
    if role is None:
        found.flaw("unknown_role", f"no API has the role {quoted(message.get('sender'))}")
        return
    said = Said(found, role)
    for attachment in objects(message.get("attachments")):
        _read_attachment(said, attachment)
    for file in objects(message.get("files_v2")) or objects(message.get("files")):
        said.part(None, str(file.get("file_kind") or "file"))
    blocks = objects(message.get("content"))
    for block in blocks:
        _read_block(found, said, block)
    if not blocks:
        said.text(message.get("text"))
    said.end()


def _read_attachment(said: Said, attachment: Body) -> None:
    text = attachment.get("extracted_content")
    if isinstance(text, str) and text.strip():
        said.part({"type": "document", "source": {"type": "text", "data": text}, "title": attachment.get("file_name")})
    else:
        said.part(None, "file")


def _read_block(found: Findings, said: Said, block: Body) -> None:
    kind = kind_of(block)
    match kind:
        case "text":
            said.text(block.get("text"))
        case "thinking":
            said.thought(block.get("thinking"), block.get("signature"))
        case "tool_use":
            said.go_on()
            said.call(block.get("id"), block.get("name"), block.get("input"))
        case "tool_result":
            call_id = block.get("tool_use_id")
            said.result(call_id, block.get("content"), is_error=block.get("is_error") is True, name=block.get("name"))
        case _ if kind in MEDIA:
            said.part(normal_part(block), kind)
        case _ if kind not in _SHOWN:
            found.flaw("bad_content_block", f"a content block of the type {quoted(kind)} is not read")
