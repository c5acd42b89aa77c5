"""What the chunks of a stream come to: the whole answer of a request that does not stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

_TEXTS = ("content", "refusal", "reasoning", "reasoning_content")


def completion(chunks: Sequence[Json]) -> Json:
    """The `chat.completion` object that a provider would have sent in place of these chunks.

    It takes the shapes that real providers stream, of which some lack a call's index, its id, or the finish reason.
    """
    entries = [entry for chunk in chunks for entry in chunk.get("choices") or ()]
    by_index: dict[int, list[Json]] = {}
    for entry in entries:
        by_index.setdefault(entry.get("index") or 0, []).append(entry)
    named = [chunk for chunk in chunks if chunk.get("id")] or [{}]
    return {
        "id": named[0].get("id", ""),
        "object": "chat.completion",
        "created": named[0].get("created", 0),
        "model": named[0].get("model", ""),
        "choices": [_choice(index, mine) for index, mine in sorted(by_index.items())],
        "usage": next((chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage")), None),
    }


def stream_error(chunks: Iterable[Json]) -> Any:
    """The first error that a chunk carries, or None."""
    return next((chunk["error"] for chunk in chunks if chunk.get("error")), None)


def _choice(index: int, entries: Sequence[Json]) -> Json:
    deltas = [entry.get("delta") or {} for entry in entries]
    message: Json = {"role": "assistant", "content": None}
    for delta in deltas:
        for field, text in _texts(delta):
            message[field] = (message.get(field) or "") + text
        if function := delta.get("function_call"):
            _extend(message.setdefault("function_call", {"name": "", "arguments": ""}), function)
    if calls := _calls(fragment for delta in deltas for fragment in delta.get("tool_calls") or ()):
        message["tool_calls"] = calls
    reasons = [entry["finish_reason"] for entry in entries if entry.get("finish_reason")]
    return {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": reasons[-1] if reasons else "stop",
    }


def _texts(delta: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The fields of a delta that are texts. Mistral sends a list of parts as the content, its thinking among them."""
    content = delta.get("content")
    parts = content if isinstance(content, list) else ()
    said = [("content", part["text"]) for part in parts if part["type"] == "text"]
    thought = [part["thinking"] for part in parts if part["type"] == "thinking"]
    said += [("reasoning", inner["text"]) for inners in thought for inner in inners]
    return said + [(field, delta[field]) for field in _TEXTS if isinstance(delta.get(field), str)]


def _calls(fragments: Iterable[Json]) -> list[Json]:
    calls: list[tuple[int | None, Json]] = []
    for fragment in fragments:
        call = _call_of(fragment, calls)
        if call is None:
            call = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            calls.append((fragment.get("index"), call))
        call["id"] = call["id"] or fragment.get("id") or ""
        _extend(call["function"], fragment["function"])
    return [call for _, call in sorted(calls, key=lambda indexed: indexed[0] or 0)]


def _call_of(fragment: Json, calls: Sequence[tuple[int | None, Json]]) -> Json | None:
    """The call that a fragment goes on with: the last one of its index, or, where it has none, of its id."""
    index, call_id = fragment.get("index"), fragment.get("id")
    if index is None:
        return next((call for _, call in reversed(calls) if not call_id or call["id"] == call_id), None)
    call = next((call for at, call in reversed(calls) if at == index), None)
    # Some number all calls 0: another id that comes with a name is another call.
    is_another = call and call_id and fragment["function"].get("name") and call["id"] not in {"", call_id}
    return None if is_another else call


def _extend(function: Json, fragment: Mapping[str, Any]) -> None:
    name, arguments = fragment.get("name"), fragment.get("arguments")
    # A name may come in pieces, or be repeated with each piece of the arguments.
    if name and name != function["name"] and not function["arguments"]:
        function["name"] += name
    function["arguments"] += json.dumps(arguments) if isinstance(arguments, Mapping) else arguments or ""
