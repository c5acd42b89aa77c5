"""The prompt for the Chat Completions API.

Its rules are those whose breach the API answers with a 400: an assistant message with tool_calls is directly followed
by one tool message for each call, a tool message follows such a message, and tool_calls is not an empty list.
(platform.openai.com/docs/guides/function-calling)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from turnlog.domain.events import Content
from turnlog.projections.messages import assistant_message, tool_call, tool_message
from turnlog.projections.prompt.entries import PromptCall, PromptEntry, PromptMessage, PromptStep, Rendered
from turnlog.projections.prompt.own_parts import audio_id
from turnlog.projections.prompt.parts import IMAGE_DETAILS, in_common, known_fields, left_out


def render_chat(entries: Iterable[PromptEntry], rendered: list[Rendered] | None = None) -> list[Rendered]:
    """The entries as messages, after those that are given."""
    rendered = [] if rendered is None else rendered
    for entry in entries:
        if isinstance(entry, PromptMessage):
            rendered.append(Rendered(_plain(entry), entry.turn, entry.positions))
        else:
            rendered.extend(_step(entry))
    return rendered


def _plain(entry: PromptMessage) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": entry.role, "content": _content(entry.content, entry.role)}
    return plain if entry.name is None else {**plain, "name": entry.name}


def _step(step: PromptStep) -> list[Rendered]:
    beside = {part.call: part.data for part in step.parts if part.call is not None}
    audio = next((found for part in step.parts if (found := audio_id(part))), None)
    assistant = assistant_message(
        _content(step.content, "assistant"),
        [_call(call, beside.get(index, {})) for index, call in enumerate(step.calls)],
        name=step.name,
        refusal=step.refusal,
        reasoning=step.reasoning,
        function_call=step.function_call,
    )
    if details := [detail for detail in step.details if str(detail.get("type")).startswith("reasoning.")]:
        assistant["reasoning_details"] = details
    if audio is not None and not (step.content or step.calls):
        assistant["audio"] = {"id": audio}  # nobody has written down what was said
    rendered = [Rendered(assistant, step.turn, step.positions)]
    for call in step.answered_calls():
        message = tool_message(call.id, _content(call.result, "tool"))
        rendered.append(Rendered(message, step.turn, call.positions))
    return rendered


def _call(call: PromptCall, beside: dict[str, Any]) -> dict[str, Any]:
    if call.custom is not None:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.custom}}
    return {**tool_call(call.id, call.name, call.arguments), **beside}


def _content(content: Content | None, role: str) -> Any:
    if content is None or isinstance(content, str):
        return content
    return [_part(in_common(part), role) for part in content]


def _part(part: dict[str, Any], role: str) -> dict[str, Any]:
    """The part with only the fields that the API has: it answers others with 'Unknown parameter'."""
    kind = str(part["type"])
    held = part[kind]
    if kind in _FIELDS:
        # 'Image URLs are only allowed for messages with role "user"'
        held = {"url": held} if isinstance(held, str) else _known(held, _FIELDS[kind])
        is_unknown = kind == "input_audio" and held.get("format") not in ("wav", "mp3")
        if role != "user" or is_unknown or held.keys() <= {"filename", "detail"}:
            return left_out(part)
    return {"type": kind, kind: held, **{mark: part[mark] for mark in _MARKS if isinstance(part.get(mark), dict)}}


def _known(held: dict[str, Any], fields: tuple[str, ...]) -> dict[str, str]:
    known = known_fields(held, fields)
    if known.get("detail", "auto") not in IMAGE_DETAILS:
        del known["detail"]
    return known


_MARKS = ("prompt_cache_breakpoint", "cache_control")
"""Marks of the end of a cached prefix: OpenAI's, and Anthropic's, which relays accept in chat messages, too."""
_FIELDS = {
    "image_url": ("url", "detail"),
    "input_audio": ("data", "format"),
    "file": ("file_data", "file_id", "filename"),
}
