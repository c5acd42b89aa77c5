"""The events of an answer, in the shape of the Responses API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from turnlog.infrastructure.testing.answers import Answer, Request, ToolCall
from turnlog.infrastructure.testing.pieces import arguments_of, fragments_of, pieces_of, tokens_of

Json = dict[str, Any]
_Item = tuple[Json, list[Json], Json]
"""An item as it is opened, what comes between, and as it is whole."""

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response_events(answer: Answer, request: Request, number: int) -> list[Json]:
    """The events of an answer to the provider's request of this number."""
    items = list(_items(answer, number))
    begun = _response(request, number, "in_progress", [], None)
    events: list[Json] = [{"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")]
    for index, (opened, between, whole) in enumerate(items):
        events.append({"type": "response.output_item.added", "output_index": index, "item": opened})
        events += ({**event, "item_id": opened["id"], "output_index": index} for event in between)
        events.append({"type": "response.output_item.done", "output_index": index, "item": whole})
    ended = _ended(answer, request, number, [whole for _, _, whole in items])
    events.append({"type": f"response.{ended['status']}", "response": ended})
    return [{**event, "sequence_number": place} for place, event in enumerate(events)]


def whole_response(answer: Answer, request: Request, number: int) -> Json:
    """The same answer, whole."""
    return _ended(answer, request, number, [whole for _, _, whole in _items(answer, number)])


def _ended(answer: Answer, request: Request, number: int, output: list[Json]) -> Json:
    counts = (tokens_of(request), sum(len(between) for _, between, _ in _items(answer, number)))
    usage: Json = {"input_tokens": counts[0], "output_tokens": counts[1], "total_tokens": sum(counts)}
    reason = _REASONS.get(answer.finish_reason or "")
    status = "completed" if reason is None else "incomplete"
    response = _response(request, number, status, output, dict(answer.usage or usage))
    return response if reason is None else {**response, "incomplete_details": {"reason": reason}}


def _response(request: Request, number: int, status: str, output: list[Json], usage: Json | None) -> Json:
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "model": request["model"],
        "output": output,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage,
    }


def _items(answer: Answer, number: int) -> Iterator[_Item]:
    if thoughts := pieces_of(answer.reasoning):
        yield _reasoning(thoughts, number)
    text, refusal = pieces_of(answer.text), pieces_of(answer.refusal)
    if text or refusal or not answer.tool_calls:
        yield _message(text, refusal, number)
    for index, call in enumerate(answer.tool_calls):
        yield _call(call, f"{number}_{index}")


def _reasoning(thoughts: list[str], number: int) -> _Item:
    item: Json = {"id": f"rs_{number}", "type": "reasoning", "summary": [], "encrypted_content": None}
    part = {"type": "summary_text", "text": "".join(thoughts)}
    place = {"summary_index": 0}
    between = [
        {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}},
        *({"type": "response.reasoning_summary_text.delta", **place, "delta": piece} for piece in thoughts),
        {"type": "response.reasoning_summary_text.done", **place, "text": part["text"]},
        {"type": "response.reasoning_summary_part.done", **place, "part": part},
    ]
    return item, between, {**item, "summary": [part], "encrypted_content": f"encrypted_{number}"}


def _message(text: list[str], refusal: list[str], number: int) -> _Item:
    item: Json = {"id": f"msg_{number}", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    between, content = list[Json](), list[Json]()
    for kind, field, said in (("output_text", "text", text), ("refusal", "refusal", refusal)):
        if not said and (kind == "refusal" or refusal):
            continue
        more: Json = {"annotations": []} if kind == "output_text" else {}
        part, place = {"type": kind, field: "".join(said), **more}, {"content_index": len(content)}
        between += [
            {"type": "response.content_part.added", **place, "part": {**part, field: ""}},
            *({"type": f"response.{kind}.delta", **place, "delta": piece} for piece in said),
            {"type": f"response.{kind}.done", **place, field: part[field]},
            {"type": "response.content_part.done", **place, "part": part},
        ]
        content.append(part)
    return item, between, {**item, "status": "completed", "content": content}


def _call(call: ToolCall, made_up: str) -> _Item:
    call_id = f"call_{made_up}" if call.id is None else call.id
    item: Json = {"id": f"fc_{made_up}", "type": "function_call", "call_id": call_id, "name": call.name}
    kind = "response.function_call_arguments"
    between = [
        *({"type": f"{kind}.delta", "delta": piece} for piece in fragments_of(call)),
        {"type": f"{kind}.done", "arguments": arguments_of(call), "name": call.name},
    ]
    opened = {**item, "arguments": "", "status": "in_progress"}
    return opened, between, {**item, "arguments": arguments_of(call), "status": "completed"}
