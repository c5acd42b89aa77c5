"""The chunks of an answer, in the shape of the Chat Completions API."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from turnlog.infrastructure.testing.answers import Answer, Request, ToolCall
from turnlog.infrastructure.testing.pieces import fragments_of, pieces_of, tokens_of

Json = dict[str, Any]


def answer_chunks(answer: Answer, request: Request, number: int) -> list[Json]:
    """The chunks of an answer to the provider's request of this number: its deltas, its end, and its usage.

    The usage is a chunk of its own, which streams have only where the request asks for it; whole answers have one.
    """
    deltas = list(_deltas(answer, number)) or [{"content": ""}]
    deltas[0] = {"role": "assistant", "content": None, **deltas[0]}
    reason = answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")
    chunks = [_chunk(request, number, [_choice(delta, None)]) for delta in deltas]
    chunks.append(_chunk(request, number, [_choice({}, reason)]))
    options = request.get("stream_options")
    if not request.get("stream") or (isinstance(options, Mapping) and options.get("include_usage")):
        for chunk in chunks:
            chunk["usage"] = None
        chunks.append(_chunk(request, number, []) | {"usage": answer.usage or _usage(request, len(deltas))})
    return chunks


def _deltas(answer: Answer, number: int) -> Iterator[Json]:
    yield from ({"reasoning_content": piece} for piece in pieces_of(answer.reasoning))
    yield from ({"content": piece} for piece in pieces_of(answer.text))
    yield from ({"refusal": piece} for piece in pieces_of(answer.refusal))
    for index, call in enumerate(answer.tool_calls):
        yield from ({"tool_calls": [{"index": index, **part}]} for part in _call(call, f"call_{number}_{index}"))


def _call(call: ToolCall, made_up_id: str) -> Iterator[Json]:
    """The call as it is opened, and then its arguments in fragments."""
    call_id = made_up_id if call.id is None else call.id
    yield {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    yield from ({"function": {"arguments": fragment}} for fragment in fragments_of(call))


def _choice(delta: Json, finish_reason: str | None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _chunk(request: Request, number: int, choices: list[Json]) -> Json:
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": request["model"],
        "choices": choices,
    }


def _usage(request: Request, deltas: int) -> Json:
    """Four characters of the prompt are a token, and so is each delta."""
    prompt = tokens_of(request)
    return {"prompt_tokens": prompt, "completion_tokens": deltas, "total_tokens": prompt + deltas}
