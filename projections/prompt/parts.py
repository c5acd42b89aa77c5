"""Content parts: what of them can be sent, and what stands in place of what an API does not take."""

from __future__ import annotations

import re
from typing import Any

from turnlog.domain.events import Content
from turnlog.domain.foreign import is_readable_part

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
}


def readable(content: Content | None, role: str) -> Content | None:
    """The content without parts that no API could read. An assistant's has text and refusals only: a note in its
    place would be imitated."""
    if content is None or isinstance(content, str):
        return content
    if role == "assistant":
        return tuple(part for part in content if part.get("type") in ("text", "refusal") and is_readable_part(part))
    return tuple(_or_note(_as_text(part)) for part in content if not _is_empty_text(part))


def _or_note(part: dict[str, Any]) -> dict[str, Any]:
    return part if is_readable_part(part) and part["type"] != "refusal" else left_out(part)


def _as_text(part: dict[str, Any]) -> dict[str, Any]:
    """The texts of the Responses API are texts."""
    is_text = part.get("type") in ("input_text", "output_text") and isinstance(part.get("text"), str)
    return {"type": "text", "text": part["text"]} if is_text else part


def _is_empty_text(part: dict[str, Any]) -> bool:
    return part.get("type") == "text" and not is_readable_part(part)


def data_url(value: Any) -> tuple[str, str] | None:
    """The media type and the base64 text of a data URL."""
    match = _DATA_URL.fullmatch(value) if isinstance(value, str) else None
    return (match[1], match[2]) if match else None


def left_out(part: dict[str, Any], why: str = "this API does not take it") -> dict[str, Any]:
    """A text in place of what is not sent, so that a message is not cut silently."""
    what = _WORDS.get(str(part.get("type")), "part")
    return {"type": "text", "text": f"({what} left out: {why})"}


def known_fields(held: dict[str, Any], fields: tuple[str, ...]) -> dict[str, str]:
    """These fields of what a part holds; OpenAI wants a name beside the data of a file."""
    known = {field: held[field] for field in fields if isinstance(held.get(field), str)}
    return {**known, "filename": known.get("filename") or "document"} if "file_data" in known else known
