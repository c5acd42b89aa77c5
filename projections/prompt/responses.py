"""The prompt for the Responses API: a list of input items.

Its rules (platform.openai.com/docs/api-reference/responses/create, and the texts of its 400s): each function_call has
an output ('No tool output found for function call'), each output has a call, and a reasoning item is followed by what
it led to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from turnlog.domain.events import Content
from turnlog.projections.prompt.entries import PromptEntry, PromptMessage, PromptStep, Rendered
from turnlog.projections.prompt.parts import IMAGE_DETAILS, in_common, known_fields, left_out, own_block
from turnlog.projections.prompt.response_items import Item, function_call, is_message, own_items, reasoning_item


def render_responses(entries: Iterable[PromptEntry], rendered: list[Rendered] | None = None) -> list[Rendered]:
    """The entries as input items, after those that are given."""
    rendered = [] if rendered is None else rendered
    for entry in entries:
        if isinstance(entry, PromptMessage):
            if content := _content(entry.content):
                item = {"type": "message", "role": entry.role, "content": content}
                rendered.append(Rendered(item, entry.turn, entry.positions))
        else:
            _add_step(rendered, entry)
    return rendered


def _add_step(rendered: list[Rendered], step: PromptStep) -> None:
    if step.parts:
        _add_own(rendered, step)
    else:
        _add_usual(rendered, step)
    for call in step.answered_calls():
        kind = "function_call_output" if call.custom is None else "custom_tool_call_output"
        item = {"type": kind, "call_id": call.id, "output": _content(call.result) or ""}
        rendered.append(Rendered(item, step.turn, call.positions))


def _add_own(rendered: list[Rendered], step: PromptStep) -> None:
    for item, call, is_said in own_items(step):
        if is_said:
            _add_text(rendered, step, item["content"], item.get("phase"))
        else:
            rendered.append(Rendered(item, step.turn, step.positions if call is None else call.positions[:1]))


def _add_usual(rendered: list[Rendered], step: PromptStep) -> None:
    text = _text(step.content) + (step.refusal or "")
    thoughts = [reasoning_item(detail) for detail in step.details if text or step.calls]
    rendered += [Rendered(item, step.turn, step.positions) for item in thoughts if item is not None]
    if text:
        _add_text(rendered, step, text)
    rendered += (Rendered(function_call(call), step.turn, call.positions[:1]) for call in step.calls)


def _add_text(rendered: list[Rendered], step: PromptStep, text: str, phase: str | None = None) -> None:
    of_phase = {} if phase is None else {"phase": phase}
    last = rendered[-1] if rendered else None
    if last is not None and is_message(last.message):
        item = {**last.message, "content": last.message["content"] + text, **of_phase}
        rendered[-1] = Rendered(item, last.turn, (*last.positions, *step.positions))
    else:
        item = {"type": "message", "role": "assistant", "content": text, **of_phase}
        rendered.append(Rendered(item, step.turn, step.positions))


def _text(content: Content | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(text for part in content if isinstance(text := part.get("text", part.get("refusal")), str))


def _content(content: Content) -> Any:
    if isinstance(content, str):
        return content
    return [_part(part) for part in content]


def _part(part: Item) -> Item:
    if part["type"] == "input_image":
        return {"type": "input_image", "file_id": part["file_id"], "detail": _detail(part)}
    if (block := own_block(part, "responses")) is not None:
        return block
    part = in_common(part)
    kind, held = part["type"], part[part["type"]]
    if kind == "text":
        return {"type": "input_text", "text": held}
    if kind == "image_url":
        url = held if isinstance(held, str) else held["url"]
        return {"type": "input_image", "image_url": url, "detail": _detail(held)}
    if kind == "file":
        return {"type": "input_file", **known_fields(held, _FILE)}
    return {**left_out(part), "type": "input_text"}


_FILE = ("file_id", "file_data", "file_url", "filename")


def _detail(image: Any) -> str:
    detail = image.get("detail") if isinstance(image, dict) else None
    return detail if detail in IMAGE_DETAILS else "auto"
