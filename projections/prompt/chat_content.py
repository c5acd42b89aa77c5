"""The content of a chat message: what a provider takes of it, and what stands for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnlog.domain.events import Content
from turnlog.projections.prompt.chat_rules import ChatRules
from turnlog.projections.prompt.entries import PromptCall
from turnlog.projections.prompt.parts import IMAGE_DETAILS, in_common, known_fields, left_out

Part = dict[str, Any]

SHOWN = "it follows the results"
_FIELDS = {
    "image_url": ("url", "detail"),
    "input_audio": ("data", "format"),
    "file": ("file_data", "file_id", "filename"),
}


def rendered_content(content: Content | None, role: str, rules: ChatRules, *, is_shown: bool = False) -> Any:
    """The content as a message of this role may have it. `is_shown`: what is no text stands in another message."""
    if content is None or isinstance(content, str):
        return content
    parts = [_part(in_common(part), role, rules, is_shown) for part in content]
    return parts if role in rules.in_parts else _as_text(parts, role)


def media_of(answers: Sequence[PromptCall], rules: ChatRules) -> list[Part]:
    """The parts of these results that a user's message may have, each behind a text that says whose they are."""
    shown = list[Part]()
    for call in answers:
        media = [made for part in _parts(call.result) if (made := _medium(in_common(part), rules)) is not None]
        if media:
            shown += [{"type": "text", "text": f"(From the result of {call.name}, {call.id}:)"}, *media]
    return shown


def with_refusal(content: Any, refusal: str) -> Any:
    """The content with what was said to refuse, for those who have no field of it."""
    if isinstance(content, list):
        return [*content, {"type": "text", "text": refusal}]
    return f"{content}\n\n{refusal}" if content else refusal


def as_parts(content: Any) -> list[Part]:
    """The rendered content as a list of parts."""
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _parts(content: Content) -> Sequence[Part]:
    return () if isinstance(content, str) else content


def _part(part: Part, role: str, rules: ChatRules, is_shown: bool) -> Part:
    """The part with only the fields that the API has: it answers others with 'Unknown parameter'."""
    kind = str(part["type"])
    if kind in _FIELDS:
        # 'Image URLs are only allowed for messages with role "user"'
        medium = _medium(part, rules)
        if role == "user" and medium is not None:
            return _with_marks(medium, part, rules)
        return left_out(part, SHOWN) if is_shown and medium is not None else left_out(part)
    if kind == "refusal" and not rules.has_refusals:
        return _with_marks({"type": "text", "text": part[kind]}, part, rules)
    return _with_marks({"type": kind, kind: part[kind]}, part, rules)


def _medium(part: Part, rules: ChatRules) -> Part | None:
    """An image, audio or file in the fields that the API has; None for what no user's message may have."""
    kind = str(part["type"])
    if kind not in _FIELDS or kind not in rules.media:
        return None
    held = part[kind]
    held = {"url": held} if isinstance(held, str) else _known(held, _FIELDS[kind])
    is_unknown = kind == "input_audio" and held.get("format") not in ("wav", "mp3")
    return None if is_unknown or held.keys() <= {"filename", "detail"} else {"type": kind, kind: held}


def _known(held: dict[str, Any], fields: tuple[str, ...]) -> dict[str, str]:
    known = known_fields(held, fields)
    if known.get("detail", "auto") not in IMAGE_DETAILS:
        del known["detail"]
    return known


def _with_marks(made: Part, part: Part, rules: ChatRules) -> Part:
    return {**made, **{mark: part[mark] for mark in _MARKS if mark in rules.marks and isinstance(part.get(mark), dict)}}


def _as_text(parts: list[Part], role: str) -> str:
    """The texts as one. An assistant's belong together as they are."""
    between = "" if role == "assistant" else "\n"
    return between.join(str(part.get("text", part.get("refusal", ""))) for part in parts)


_MARKS = ("prompt_cache_breakpoint", "cache_control")
"""Marks of the end of a cached prefix: OpenAI's, and Anthropic's, which relays accept in chat messages, too."""
