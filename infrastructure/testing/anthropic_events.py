"""The events of an answer, in the shape of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from turnlog.infrastructure.testing.answers import Answer, Request
from turnlog.infrastructure.testing.pieces import fragments_of, input_of, pieces_of, tokens_of

Json = dict[str, Any]

_REASONS = {"length": "max_tokens", "content_filter": "refusal", "stop": "end_turn", "tool_calls": "tool_use"}


def anthropic_events(answer: Answer, request: Request, number: int) -> list[Json]:
    """The events of an answer to the provider's request of this number."""
    blocks = list(_blocks(answer, number))
    counts: Json = {"input_tokens": tokens_of(request), "output_tokens": 1}
    message: Json = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": request["model"]}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": counts}
    events: list[Json] = [{"type": "message_start", "message": message}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        events.append({"type": "content_block_stop", "index": index})
    reason = answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")
    ended = {"stop_reason": _REASONS.get(reason, reason), "stop_sequence": None}
    usage = answer.usage or {"output_tokens": sum(len(deltas) for _, deltas in blocks)}
    return [*events, {"type": "message_delta", "delta": ended, "usage": usage}, {"type": "message_stop"}]


def _blocks(answer: Answer, number: int) -> Iterator[tuple[Json, list[Json]]]:
    if thoughts := pieces_of(answer.reasoning):
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in thoughts]
        proof = {"type": "signature_delta", "signature": f"signature_{number}"}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, proof]
    said = pieces_of(answer.text) + pieces_of(answer.refusal)
    if said or not answer.tool_calls:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in said]
    for index, call in enumerate(answer.tool_calls):
        call_id = f"toolu_{number}_{index}" if call.id is None else call.id
        fragments = [{"type": "input_json_delta", "partial_json": piece} for piece in fragments_of(call)]
        yield {"type": "tool_use", "id": call_id, "name": call.name, "input": {}}, fragments


def anthropic_message(answer: Answer, request: Request, number: int) -> Json:
    """The same answer, whole."""
    started, *_, ended, _stop = anthropic_events(answer, request, number)
    blocks = [_whole(block, deltas) for block, deltas in _blocks(answer, number)]
    calls = iter(answer.tool_calls)
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = input_of(next(calls))
    message: Json = {**started["message"], **ended["delta"], "content": blocks}
    return {**message, "usage": {**message["usage"], **ended["usage"]}}


def _whole(block: Json, deltas: list[Json]) -> Json:
    whole = dict(block)
    for delta in deltas:
        for field in ("thinking", "text", "signature"):
            if field in delta:
                whole[field] += delta[field]
    return whole
