"""Reads records of Claude Code's JSONL, and of `claude -p --output-format stream-json`: each holds a message of
Anthropic's API, and one response is several records."""

from __future__ import annotations

from typing import Any

from turnlog.domain.foreign.findings import Findings
from turnlog.domain.foreign.messages import read_message

Body = dict[str, Any]


def is_claude_code(message: Body) -> bool:
    """Whether it is a record of Claude Code with something that was said, and of nobody else."""
    if message.get("type") == "attachment":
        return _queued(message) is not None
    held = message.get("message")
    return message.get("type") in ("user", "assistant") and isinstance(held, dict) and "content" in held


def read_claude_code(found: Findings, message: Body) -> None:
    """Reads one record. One that is no message says nothing, nor does an error of the API that was shown as an
    answer."""
    if (queued := _queued(message)) is not None:
        found.take("anthropic", read_message, {"role": "user", "content": queued})
    elif is_claude_code(message) and message.get("isApiErrorMessage") is not True:
        held = message["message"]
        found.take("anthropic", read_message, {**held, "role": held.get("role", message["type"])})


def _queued(message: Body) -> Any:
    """What the user wrote while the model worked."""
    attachment = message.get("attachment")
    if not isinstance(attachment, dict) or attachment.get("type") != "queued_command":
        return None
    return attachment.get("prompt")
