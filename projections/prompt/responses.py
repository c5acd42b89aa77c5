"""The prompt for the Responses API: a list of input items.

Its rules (platform.openai.com/docs/api-reference/responses/create, and the texts of its 400s): each function_call has
its output ('No tool output found for function call'), each output its call, and a reasoning item is followed by what
it was the reasoning of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from turnlog.domain.events import Content
from turnlog.projections.prompt.entries import PromptEntry, PromptMessage, PromptStep, Rendered
from turnlog.projections.prompt.parts import left_out

Item = dict[str, Any]

_REASONING = ("type", "id", "summary", "encrypted_content")


def render_responses(entries: Iterable[PromptEntry]) -> list[Rendered]:
    """The entries as input items."""
    rendered: list[Rendered] = []
    for entry in entries:
        if isinstance(entry, PromptMessage):
            if content := _content(entry.content):
                item = {"type": "message", "role": entry.role, "content": content}
                rendered.append(Rendered(item, entry.turn, entry.positions))
        else:
            _add_step(rendered, entry)
    return rendered


def _add_step(rendered: list[Rendered], step: PromptStep) -> None:
    text = _text(step.content) + (step.refusal or "")
    for detail in step.details if text or step.calls else ():
        if detail.get("type") == "reasoning" and detail.get("encrypted_content"):
            item = {key: detail[key] for key in _REASONING if key in detail}
            rendered.append(Rendered(item, step.turn, step.positions))
    if text:
        _add_text(rendered, step, text)
    for call in step.calls:
        item = {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        rendered.append(Rendered(item, step.turn, call.positions[:1]))
    for call in (step.calls[place] for place in step.answers):
        item = {"type": "function_call_output", "call_id": call.id, "output": _content(call.result) or ""}
        rendered.append(Rendered(item, step.turn, call.positions))


def _add_text(rendered: list[Rendered], step: PromptStep, text: str) -> None:
    last = rendered[-1] if rendered else None
    if last is not None and last.message.get("role") == "assistant":
        item = {**last.message, "content": last.message["content"] + text}
        rendered[-1] = Rendered(item, last.turn, (*last.positions, *step.positions))
    else:
        item = {"type": "message", "role": "assistant", "content": text}
        rendered.append(Rendered(item, step.turn, step.positions))


def _text(content: Content | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(text for part in content if isinstance(text := part.get("text", part.get("refusal")), str))


def _content(content: Content) -> Any:
    if isinstance(content, str):
        return content
    return [item for part in content if (item := _part(part)) is not None]


def _part(part: Item) -> Item | None:
    kind = part.get("type")
    if kind == "text":
        text = part.get("text")
        return {"type": "input_text", "text": text} if isinstance(text, str) and text else None
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if isinstance(url, str) and url:
            return {"type": "input_image", "image_url": url, "detail": _detail(image)}
    if kind == "file" and isinstance(part.get("file"), dict):
        return {"type": "input_file", **part["file"]}
    return {**left_out("audio" if kind == "input_audio" else str(kind)), "type": "input_text"}


def _detail(image: Any) -> str:
    detail = image.get("detail") if isinstance(image, dict) else None
    return detail if detail in ("low", "high", "auto") else "auto"
