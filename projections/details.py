"""The details of reasoning that come in pieces, as one: a request that sends them back has each whole.

The rule is that of OpenRouter's own package (`@openrouter/ai-sdk-provider`, where it gathers `reasoning_details`):
texts that follow each other are one, with the signature that came last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from turnlog.domain.values import JsonObject

_TEXTS: dict[Any, str] = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""The field with the text of a detail, by its type. One of another type is whole."""


def joined_details(details: Iterable[JsonObject]) -> list[JsonObject]:
    """The details, of which those that are pieces of one text are one."""
    joined = list[JsonObject]()
    texts = list[str]()  # of the last one
    for detail in details:
        if joined and _goes_on(joined[-1], detail):
            joined[-1] = {**joined[-1], **{name: value for name, value in detail.items() if value is not None}}
        else:
            _finish(joined, texts)
            joined.append(detail)
            texts = []
        texts.append(_text(detail))
    _finish(joined, texts)
    return joined


def _finish(joined: list[JsonObject], texts: list[str]) -> None:
    if len(texts) > 1:
        joined[-1][_TEXTS[joined[-1]["type"]]] = "".join(texts)


def _text(detail: JsonObject) -> str:
    kind = detail.get("type")
    text = detail.get(_TEXTS[kind]) if isinstance(kind, str) and kind in _TEXTS else None
    return text if isinstance(text, str) else ""


def _goes_on(before: JsonObject, detail: JsonObject) -> bool:
    kind = detail.get("type")
    if not isinstance(kind, str) or kind not in _TEXTS or before.get("type") != kind or before.get("signature"):
        return False
    return all(detail.get(name) in (None, before.get(name)) for name in ("index", "id", "format"))
