"""The tokens of images, audio and files, by what the providers document. Of the data only its beginning is decoded.

* OpenAI, images: 85 with low detail; else scaled into 2048 x 2048 and to a shorter side of 768, 85 and 170 for each
  tile of 512 x 512; with `original` a token for each patch of 32 x 32
  (platform.openai.com/docs/guides/images-vision#calculating-costs). Models with other rates are of the same order.
* Anthropic, images: width * height / 750, scaled to a longer side of 1568, at most some 1,600
  (docs.anthropic.com/en/docs/build-with-claude/vision#evaluate-image-size).
* Audio: a token for 100 ms (platform.openai.com/docs/guides/realtime-costs).
* PDF: 1,500 to 3,000 for the text of a page, and the picture of it
  (docs.anthropic.com/en/docs/build-with-claude/pdf-support#estimate-your-costs).
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Callable
from math import ceil
from typing import Any

from turnlog.projections.prompt.image_size import image_size

UNKNOWN_IMAGE, LARGEST_IMAGE = 765, 1_600
"""Of an image whose size is not known: of 1024 x 1024 for OpenAI, and the most that Anthropic takes."""
LOW_DETAIL, TILE = 85, 170
MOST_PATCHES = 10_000
UNKNOWN_AUDIO = 600
"""A minute."""
TOKENS_PER_SECOND = 10
BYTES_PER_SECOND = 8_000
"""Of audio that says nothing of it: 64 kbit/s."""
TOKENS_PER_PAGE, BYTES_PER_PAGE, MOST_PAGES = 3_000, 50_000, 100
BYTES_PER_TOKEN = 4
"""Of a file of text."""

_HEAD = 65_536
"""Characters of base64 that are decoded: a photograph may have a preview before its size."""

Part = dict[str, Any]


def _openai_image(part: Part) -> int | None:
    held = part.get("image_url")
    if isinstance(held, dict):
        url, detail = held.get("url"), held.get("detail")
    else:
        url, detail = held, part.get("detail")
    if detail == "low":
        return LOW_DETAIL
    size = image_size(_beginning(url))
    if size is None:
        return UNKNOWN_IMAGE
    return _patches(*size) if detail == "original" else _tiles(*size)


def _tiles(width: int, height: int) -> int:
    scale = min(1, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    return LOW_DETAIL + TILE * ceil(width * scale / 512) * ceil(height * scale / 512)


def _patches(width: int, height: int) -> int:
    return min(MOST_PATCHES, ceil(width / 32) * ceil(height / 32))


def _anthropic_image(part: Part) -> int | None:
    source = part.get("source")
    size = image_size(_beginning((source if isinstance(source, dict) else part).get("data")))
    if size is None:
        return LARGEST_IMAGE
    width, height = size
    scale = min(1, 1568 / max(width, height))
    return min(LARGEST_IMAGE, ceil(width * scale * height * scale / 750))


def _audio(part: Part) -> int | None:
    held = part.get("input_audio", part)
    data = held.get("data") if isinstance(held, dict) else None
    if not isinstance(data, str) or not data:
        return UNKNOWN_AUDIO
    head = _beginning(data)
    rate = int.from_bytes(head[28:32], "little") if head[:4] == b"RIFF" and head[8:12] == b"WAVE" else 0
    return ceil(_size(data) / (rate or BYTES_PER_SECOND) * TOKENS_PER_SECOND)


def _openai_file(part: Part) -> int | None:
    held = part.get("file", part)
    return _file(held.get("file_data") if isinstance(held, dict) else None)


def _document(part: Part) -> int | None:
    source = part.get("source")
    if not isinstance(source, dict) or source.get("type") in ("text", "content"):
        return None  # texts, and blocks
    return _file(source.get("data"), source.get("media_type"))


def _file(data: Any, media_type: Any = None) -> int:
    if not isinstance(data, str) or not data:
        return TOKENS_PER_PAGE
    size = _size(data)
    if str(media_type or data[5:13]).startswith("text/"):
        return ceil(size / BYTES_PER_TOKEN)
    if isinstance(media_type, str) and media_type.startswith("image/"):
        return LARGEST_IMAGE
    return TOKENS_PER_PAGE * min(MOST_PAGES, ceil(size / BYTES_PER_PAGE))


def _generated(part: Part) -> int | None:
    size = image_size(_beginning(part.get("result")))
    return UNKNOWN_IMAGE if size is None else _tiles(*size)


MEDIA_TOKENS: dict[str, Callable[[Part], int | None]] = {
    "image_url": _openai_image,
    "input_image": _openai_image,
    "computer_screenshot": _openai_image,
    "image_generation_call": _generated,
    "image": _anthropic_image,
    "input_audio": _audio,
    "audio": _audio,
    "file": _openai_file,
    "input_file": _openai_file,
    "document": _document,
}
"""By the type of a part: its tokens; None where it is made of texts and parts."""


def _base64(data: str) -> int:
    """Where the base64 begins: a data URL has a head before it."""
    return data.find(",", 0, 200) + 1 if data.startswith("data:") else 0


def _size(data: str) -> int:
    """In bytes."""
    return (len(data) - _base64(data) - data.count("=", len(data) - 2)) * 3 // 4


def _beginning(data: Any) -> bytes:
    """The first bytes of a data URL or of base64; none of anything else."""
    if not isinstance(data, str) or data.startswith(("http:", "https:")):
        return b""
    start = _base64(data)
    text = data[start : start + _HEAD]
    try:
        return a2b_base64(text[: len(text) - len(text) % 4].encode("ascii"))
    except (Error, UnicodeEncodeError):
        return b""
