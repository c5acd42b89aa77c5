"""Texts and contents as one: without anything between them, unless a repair says so.

Any number of them is joined in one go: each is copied once.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from turnlog.domain.events import Content


def joined_texts(texts: Iterable[str | None]) -> str | None:
    """All texts as one; None if there is none."""
    there = [text for text in texts if text is not None]
    return "".join(there) if there else None


def joined_contents(contents: Iterable[Content | None]) -> Content | None:
    """All contents as one: a text beside parts becomes a part."""
    there = [content for content in contents if content is not None]
    begin = list(takewhile(lambda content: isinstance(content, str), there))
    text = "".join(map(str, begin))
    if len(begin) == len(there):
        return text if there else None
    return tuple(part for content in ([text] if begin else []) + there[len(begin) :] for part in _parts(content))


def _parts(content: Content) -> Iterable[dict[str, Any]]:
    return ({"type": "text", "text": content},) if isinstance(content, str) else content
