"""The prompt for the Chat Completions API.

The rules are those whose breach the API answers with a 400: an assistant message with tool_calls is followed at once
by one tool message for each call, a tool message follows such a call, and tool_calls is not an empty list.
(platform.openai.com/docs/guides/function-calling)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from turnlog.projections.messages import as_json, tool_call
from turnlog.projections.prompt.entries import PromptEntry, PromptMessage, PromptStep, Rendered


def render_chat(entries: Iterable[PromptEntry]) -> list[Rendered]:
    """The entries as messages."""
    rendered: list[Rendered] = []
    for entry in entries:
        if isinstance(entry, PromptMessage):
            rendered.append(Rendered(_plain(entry), entry.turn, entry.positions))
        else:
            rendered.extend(_step(entry))
    return rendered


def _plain(entry: PromptMessage) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": entry.role, "content": as_json(entry.content)}
    return plain if entry.name is None else {**plain, "name": entry.name}


def _step(step: PromptStep) -> list[Rendered]:
    # An empty text beside calls is what some providers stream and others refuse.
    assistant: dict[str, Any] = {"role": "assistant", "content": as_json(step.content)}
    if step.name is not None:
        assistant["name"] = step.name
    if step.refusal is not None:
        assistant["refusal"] = step.refusal
    if step.function_call is not None:
        assistant["function_call"] = {"name": step.function_call.name, "arguments": step.function_call.arguments}
    if step.calls:
        assistant["tool_calls"] = [tool_call(call.id, call.name, call.arguments) for call in step.calls]
    rendered = [Rendered(assistant, step.turn, step.positions)]
    for call in (step.calls[place] for place in step.answers):
        message = {"role": "tool", "tool_call_id": call.id, "content": as_json(call.result)}
        rendered.append(Rendered(message, step.turn, call.positions))
    return rendered
