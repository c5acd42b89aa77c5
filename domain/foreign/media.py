"""Content parts that are not text: images, audio and files as each API, MCP and other libraries have them.

The normal form is that of Chat Completions. What it cannot say is in the form of the API that can: search results and
documents of Anthropic's API (see `domain.foreign.documents`), and files that were uploaded to one API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnlog.domain.foreign.documents import OWN_PARTS, is_own_part, own_part, own_text
from turnlog.domain.foreign.findings import kind_of
from turnlog.domain.quoting import cut

Part = dict[str, Any]

_MIME_KEYS = ("mimeType", "mime_type", "mediaType", "media_type", "contentType")
_DATA_KEYS = ("data", "base64", "blob", "image", "file", "audio")
_URL_KEYS = ("url", "fileUri", "file_uri")
_NAME_KEYS = ("filename", "name", "title", "fileName")
_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-m4a": "m4a"}
_ANY_TYPE = {"image": "image/png", "audio": "audio/wav"}
"""What data is where nobody says it."""
MAX_NAME = 255


def media_part(kind: str, block: Part) -> Part | None:
    """The block as a part in the normal form; None where it cannot be read."""
    return _READERS[kind](block)


def normal_part(part: Part) -> Part | None:
    """The part in the normal form, if it is an image, audio, file or document of any API, or one of MCP's; else as it
    is. None where it does not hold what its type says."""
    kind = kind_of(part)
    return media_part(kind, part) if kind in MEDIA else part


def portable(part: Part) -> Part | None:
    """What other APIs take in the place of a part that one API has of its own: its text, or the file. None where there
    is nothing to send."""
    text = own_text(part)
    if text is not None:
        return {"type": "text", "text": text}
    if part["type"] != "document":
        return None
    return media_part("document", {key: part[key] for key in ("type", "source", "title") if key in part})


def is_block(value: Part) -> bool:
    """Whether it is a part of an API, and no object of an application that has a `type`, too: it holds what its type
    says, where its API has that."""
    kind = kind_of(value)
    if kind in ("image", "audio") and "source" not in value:
        return _is_filled(value.get("data")) and _is_filled(value.get("mimeType"))
    if kind in ("image", "document"):
        return isinstance(value.get("source"), dict) and media_part(kind, value) is not None
    if kind in ("input_image", "input_file", "resource"):
        return media_part(kind, value) is not None
    return is_readable_part(value)


def media_of(mime: str | None, data: Any = None, url: Any = None, name: Any = None) -> Part | None:
    """The part with this content: base64 text, or a URL, which may be one of data. None where there is neither."""
    if _is_filled(data) and data.startswith(("data:", "https://", "http://")):
        data, url = None, data
    if not (_is_filled(data) or _is_filled(url)):
        return None
    if _is_filled(url) and url.startswith("data:"):
        mime = mime or url[5:].split(";", 1)[0].split(",", 1)[0]
    kind, _, form = (mime or "").partition("/")
    if kind == "image":
        return _image(url or f"data:{mime};base64,{data}")
    embedded = url.partition(";base64,")[2] if _is_filled(url) and url.startswith("data:") else data
    if kind == "audio" and _is_filled(embedded):
        form = form.split(";", 1)[0]
        return {"type": "input_audio", "input_audio": {"data": embedded, "format": _AUDIO_FORMATS.get(form, form)}}
    named = {"filename": cut(name, MAX_NAME)} if _is_filled(name) else {}
    if _is_filled(url) and not url.startswith("data:"):
        return {"type": "file", "file": {"file_url": url, **named}}
    whole = url or f"data:{mime or 'application/octet-stream'};base64,{data}"
    return {"type": "file", "file": {"file_data": whole, **named}}


def _image_url(block: Part) -> Part | None:
    image = block.get("image_url")
    if isinstance(image, str):
        return _image(image, block.get("detail"))
    return own_part(block) or (block if is_readable_part(block) else None)


def _as_it_is(block: Part) -> Part | None:
    return block if is_readable_part(block) else _loose(block)


def _input_file(block: Part) -> Part | None:
    part = {"type": "file", "file": {key: value for key, value in block.items() if key != "type"}}
    return part if is_readable_part(part) else None


def _sourced(block: Part) -> Part | None:
    """An image or document of Anthropic's API, or one of MCP and other libraries, which have the data in the block."""
    source, kind = block.get("source"), block["type"]
    if not isinstance(source, dict):
        return _loose(block)
    if (own := own_part(block)) is not None:
        return own
    url, data, title = source.get("url"), source.get("data"), block.get("title")
    if source.get("type") == "url" and isinstance(url, str) and url:
        return _image(url) if kind == "image" else media_of(None, url=url, name=title)
    mime = source.get("media_type")
    if source.get("type") != "base64" or not (isinstance(mime, str) and isinstance(data, str)):
        return None
    embedded = f"data:{mime};base64,{data}"
    name = {"filename": title} if _is_filled(title) else {}
    return _image(embedded) if kind == "image" else {"type": "file", "file": {"file_data": embedded, **name}}


def _loose(block: Part) -> Part | None:
    """A part whose data, type and name stand beside each other, under any of the names that libraries have for them."""
    kind = str(block.get("type"))
    data, url, mime = _first(block, _DATA_KEYS), _first(block, _URL_KEYS), _first(block, _MIME_KEYS)
    return media_of(mime or _ANY_TYPE.get(kind), data, url, _first(block, _NAME_KEYS))


def _resource(block: Part) -> Part | None:
    """A resource that MCP embeds: text, or data."""
    held = block.get("resource")
    if not isinstance(held, dict):
        return None
    if isinstance(text := held.get("text"), str):
        return own_part({"type": "document", "source": {"type": "text", "data": text}, "title": held.get("uri")})
    uri = held.get("uri")
    name = uri.rpartition("/")[2] if isinstance(uri, str) else None
    return media_of(_first(held, _MIME_KEYS), held.get("blob"), name=name)


def _resource_link(block: Part) -> Part | None:
    """A resource of MCP that somebody else has: the model reads where it is."""
    uri, named, told = (_first(block, keys) for keys in (("uri",), ("title", "name"), ("description",)))
    if uri is None:
        return None
    where = uri if named is None else f"{named}: {uri}"
    return {"type": "text", "text": where if told is None else f"{where}\n{told}"}


def _first(block: Part, keys: tuple[str, ...]) -> str | None:
    return next((block[key] for key in keys if _is_filled(block.get(key))), None)


def _image(url: str, detail: Any = None) -> Part | None:
    image = {"url": url, "detail": detail} if _is_filled(detail) and detail != "auto" else {"url": url}
    return {"type": "image_url", "image_url": image} if url else None


def is_readable_part(part: Part) -> bool:
    """Whether a content part in the normal form holds what its type says."""
    kind = kind_of(part)
    held = part.get(kind)
    if kind in ("text", "refusal"):
        return _is_filled(held)
    if kind in OWN_PARTS:
        return is_own_part(part)
    if not isinstance(held, dict):
        return kind == "image_url" and _is_filled(held)
    if kind == "image_url":
        return _is_filled(held.get("url"))
    if kind == "input_audio":
        return _is_filled(held.get("data")) and _is_filled(held.get("format"))
    return kind == "file" and any(_is_filled(held.get(key)) for key in ("file_id", "file_data", "file_url"))


def _is_filled(value: Any) -> bool:
    return isinstance(value, str) and value != ""


_READERS: dict[str, Callable[[Part], Part | None]] = {
    "image_url": _image_url,
    "input_image": _image_url,
    "input_audio": _as_it_is,
    "file": _as_it_is,
    "input_file": _input_file,
    "image": _sourced,
    "document": _sourced,
    "search_result": own_part,
    "audio": _loose,
    "resource": _resource,
    "resource_link": _resource_link,
}
MEDIA = frozenset(_READERS)
"""No API takes them from an assistant, and Chat Completions takes most of them from a user only."""
