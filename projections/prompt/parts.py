"""Content parts: which of them can be sent, and what replaces a part that an API does not accept."""

from __future__ import annotations

import re
from typing import Any

from turnlog.domain.events import Content
from turnlog.domain.foreign import OWN_BLOCK, OWN_PARTS, is_readable_part, normal_part, portable
from turnlog.domain.parts import PartApi
from turnlog.domain.values import as_unicode

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.+)", re.DOTALL)
IMAGE_DETAILS = ("auto", "low", "high", "original")
_WORDS = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "file": "file",
    "input_file": "file",
    "document": "file",
    "search_result": "search result",
}


def sendable(content: Content | None, role: str) -> Any:
    """The content of a message of this role: without parts that no API could read, and all text in Unicode."""
    return unicode_json(_readable(content, role))


def unicode_json(value: Any) -> Any:
    """The JSON value with all its text in Unicode (see `as_unicode`)."""
    if isinstance(value, str):
        return as_unicode(value)
    if isinstance(value, list | tuple):
        return type(value)(unicode_json(item) for item in value)
    if isinstance(value, dict):
        return {as_unicode(key): unicode_json(item) for key, item in value.items()}
    return value


def _readable(content: Content | None, role: str) -> Content | None:
    if content is None or isinstance(content, str):
        return content
    if role == "assistant":
        # An assistant says only texts and refusals, and a note among them would be imitated.
        return tuple(part for part in content if part.get("type") in ("text", "refusal") and is_readable_part(part))
    return tuple(_or_note(_as_text(part)) for part in content if not _is_empty_text(part))


def _or_note(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == OWN_BLOCK and isinstance(part.get("block"), dict) and isinstance(part.get("api"), str):
        return part  # its API takes it, and another one gets a note
    # Parts that were stored by an earlier version may be in any form.
    normal = normal_part(part)
    is_sent = normal is not None and is_readable_part(normal) and part["type"] != "refusal"
    return normal if is_sent and normal is not None else left_out(part)


def _as_text(part: dict[str, Any]) -> dict[str, Any]:
    """The part; the text types of the Responses API as plain text."""
    is_text = part.get("type") in ("input_text", "output_text") and isinstance(part.get("text"), str)
    return {"type": "text", "text": part["text"]} if is_text else part


def _is_empty_text(part: dict[str, Any]) -> bool:
    return part.get("type") == "text" and not is_readable_part(part)


def data_url(value: Any) -> tuple[str, str] | None:
    """The media type and the base64 text of a data URL; None for anything else."""
    match = _DATA_URL.fullmatch(value) if isinstance(value, str) else None
    return (match[1], match[2]) if match else None


def left_out(part: dict[str, Any], why: str = "this API does not take it") -> dict[str, Any]:
    """A text that replaces a part which is not sent, so that no message is cut silently."""
    what = _WORDS.get(str(part.get("type")), "part")
    return {"type": "text", "text": f"({what} left out: {why})"}


def in_common(part: dict[str, Any]) -> dict[str, Any]:
    """The part; of one that only one API has, what the others take in its place: its text, a file, or a note."""
    if part["type"] == OWN_BLOCK:
        return left_out(part)
    return (portable(part) or left_out(part)) if part["type"] in OWN_PARTS else part


def own_block(part: dict[str, Any], api: PartApi) -> dict[str, Any] | None:
    """The block of this API that the part is, if it is one."""
    return part["block"] if part["type"] == OWN_BLOCK and part["api"] == api else None


def known_fields(held: dict[str, Any], fields: tuple[str, ...]) -> dict[str, str]:
    """Those of the fields that a part has as text. The data of a file gets a name: OpenAI requires one."""
    known = {field: held[field] for field in fields if isinstance(held.get(field), str)}
    return {**known, "filename": known.get("filename") or "document"} if "file_data" in known else known
