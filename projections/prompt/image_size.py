"""Width and height of a picture, from its first bytes: PNG, JPEG, GIF and WebP."""

from __future__ import annotations

from struct import error as TooShortError  # noqa: N812 what it means here
from struct import unpack_from

Size = tuple[int, int]

_NO_FRAMES = (0xC4, 0xC8, 0xCC)
"""Markers of JPEG among those of frames that are none."""


def image_size(head: bytes) -> Size | None:
    """Width and height in pixels; None where the bytes do not say them, or say that one is 0."""
    try:
        size = _size(head)
    except TooShortError:
        return None
    return size if size is not None and min(size) > 0 else None


def _size(head: bytes) -> Size | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _pair(head, ">II", 16)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _pair(head, "<HH", 6)
    if head.startswith(b"\xff\xd8"):
        return _jpeg(head)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp(head)
    return None


def _pair(head: bytes, shape: str, at: int) -> Size:
    first, second = unpack_from(shape, head, at)
    return first, second


def _jpeg(head: bytes) -> Size | None:
    at = 2
    while True:
        mark, kind = unpack_from(">BB", head, at)
        if mark != 0xFF:
            return None
        if kind == 0xFF:  # a filler
            at += 1
        elif kind in (0x01, *range(0xD0, 0xD9)):  # without a length
            at += 2
        elif 0xC0 <= kind <= 0xCF and kind not in _NO_FRAMES:
            height, width = _pair(head, ">HH", at + 5)
            return width, height
        else:
            (length,) = unpack_from(">H", head, at + 2)
            at += 2 + max(2, length)


def _webp(head: bytes) -> Size | None:
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = _pair(head, "<HH", 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width, high, height, higher = unpack_from("<HBHB", head, 24)
        return (width | high << 16) + 1, (height | higher << 16) + 1
    return None
