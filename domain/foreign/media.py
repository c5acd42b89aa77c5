"""Content parts that are not text: images, audio and files of each API, in the Chat Completions shape."""

from __future__ import annotations

from typing import Any

MEDIA = frozenset({"image_url", "input_image", "input_audio", "file", "input_file", "image", "document"})
"""No API takes them from an assistant, and Chat Completions takes them from a user only."""


def media_part(kind: str, block: dict[str, Any]) -> dict[str, Any] | None:
    """The block as a part in the Chat Completions shape; None where it cannot be read."""
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
    """An image or document of Anthropic's API."""
    url, data = source.get("url"), source.get("data")
    if kind == "document" and source.get("type") == "text" and isinstance(data, str):
        return {"type": "text", "text": data}
    name = {"filename": title} if _is_filled(title) else {}
    if source.get("type") == "url" and isinstance(url, str) and url:
        return _image(url) if kind == "image" else {"type": "file", "file": {"file_url": url, **name}}
    if source.get("type") != "base64" or not (isinstance(source.get("media_type"), str) and isinstance(data, str)):
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
        return _is_filled(held)
    if not isinstance(held, dict):
        return kind == "image_url" and _is_filled(held)
    if kind == "image_url":
        return _is_filled(held.get("url"))
    if kind == "input_audio":
        return _is_filled(held.get("data")) and _is_filled(held.get("format"))
    return kind == "file" and any(_is_filled(held.get(key)) for key in ("file_id", "file_data", "file_url"))


def _is_filled(value: Any) -> bool:
    return isinstance(value, str) and value != ""
