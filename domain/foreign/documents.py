"""Content parts that one API has and Chat Completions has not: search results, documents of text, and files that were
uploaded to that API. They are kept as they are; for the other APIs there is their text, where they have one."""

from __future__ import annotations

from typing import Any

from turnlog.domain.quoting import cut

Part = dict[str, Any]

OWN_PARTS = frozenset({"search_result", "document", "image", "input_image"})
"""The types of these parts. The first three are Anthropic's, the last is of the Responses API."""

MAX_TITLE = 500
"""Characters of a title, at most."""


def own_part(block: Part) -> Part | None:
    """The block as a part of its own API, with the fields that this has. None for one that Chat Completions can say,
    and for one that cannot be read."""
    match block.get("type"):
        case "search_result":
            return _search_result(block)
        case "document" | "image":
            beside = _beside(block)
            has_more = not beside.keys() <= {"title", "cache_control"}
            source = _own_source(block.get("source"), block["type"], has_more=has_more)
            return None if source is None else {"type": block["type"], "source": source, **beside}
        case "input_image" if _is_filled(block.get("file_id")):
            return {key: block[key] for key in ("type", "file_id", "detail") if isinstance(block.get(key), str)}
        case _:
            return None


def is_own_part(part: Part) -> bool:
    """Whether it is such a part, and can be read."""
    return own_part(part) is not None


def own_text(part: Part) -> str | None:
    """The text of a search result or document, for an API that does not have these. None for others."""
    whole = own_part(part)
    if whole is None or part["type"] not in ("search_result", "document"):
        return None
    source = whole["source"]
    if part["type"] == "search_result":
        head, texts = f"{whole['title']} ({source})", _texts(whole["content"])
    else:
        head = whole.get("title", "")
        texts = _texts(source["content"]) if source["type"] == "content" else []
        texts = [source["data"]] if source["type"] == "text" else texts
    said = [text for text in (head, *texts) if text]
    return "\n\n".join(said) if any(texts) else None


def _search_result(block: Part) -> Part | None:
    source, title, texts = block.get("source"), block.get("title"), _texts(block.get("content"))
    if not (_is_filled(source) and texts):
        return None
    content = [{"type": "text", "text": text} for text in texts]
    said = {"source": source, "title": title if _is_filled(title) else source, "content": content}
    return {"type": "search_result", **said, **_beside(block)}


def _own_source(source: Any, kind: str, *, has_more: bool) -> Part | None:
    """A source that only Anthropic's API has; or any, if the block `has_more` that only this API has."""
    if not isinstance(source, dict):
        return None
    match source.get("type"):
        case "file" if _is_filled(source.get("file_id")):
            return {"type": "file", "file_id": source["file_id"]}
        case "text" if kind == "document" and _is_filled(source.get("data")):
            return {"type": "text", "media_type": "text/plain", "data": source["data"]}
        case "content" if kind == "document":
            content = source.get("content")
            texts = [content] if _is_filled(content) else _texts(content)
            blocks = [{"type": "text", "text": text} for text in texts]
            return {"type": "content", "content": blocks} if blocks else None
        case "base64" if has_more and _is_filled(source.get("data")) and source.get("media_type") == "application/pdf":
            return {"type": "base64", "media_type": "application/pdf", "data": source["data"]}
        case "url" if has_more and str(source.get("url")).startswith(("https://", "http://")):
            return {"type": "url", "url": source["url"]}
        case _:
            return None


def _beside(block: Part) -> Part:
    """The fields beside the source, where they are right."""
    fields = ("title", "context") if block["type"] == "document" else ()
    beside: Part = {key: block[key] for key in fields if _is_filled(block.get(key))}
    if "title" in beside:
        beside["title"] = cut(beside["title"], MAX_TITLE - 3)
    citations, mark = block.get("citations"), block.get("cache_control")
    if block["type"] != "image" and isinstance(citations, dict) and isinstance(citations.get("enabled"), bool):
        beside["citations"] = {"enabled": citations["enabled"]}
    if isinstance(mark, dict) and mark.get("type") == "ephemeral":
        beside["cache_control"] = mark
    return beside


def _texts(content: Any) -> list[str]:
    """The texts of a list of text blocks, without blank ones."""
    blocks = content if isinstance(content, list) else []
    texts = (block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text")
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _is_filled(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""
