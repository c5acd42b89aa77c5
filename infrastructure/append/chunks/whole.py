"""Whole answers, of requests that do not stream, as the chunks that would have brought them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.append.chunks.events import without
from turnlog.infrastructure.append.chunks.fields import as_object, json_object, list_of

ENDED = ("completed", "incomplete", "failed", "cancelled")
"""The states of a response that goes on no more."""


def chunks_of(answer: Any) -> list[JsonObject]:
    """The chunks of an answer, which is a model of its package or a dict. Raises InvalidInputError for anything else,
    and for a response that still goes on."""
    if not isinstance(answer, dict) and not hasattr(answer, "model_dump"):
        raise _no_answer(answer)
    whole = json_object(answer, "response")
    if isinstance(whole.get("choices"), list) or (whole.get("error") and "output" not in whole and "type" not in whole):
        return [_chat(whole)]
    if whole.get("object") == "response" or isinstance(whole.get("output"), list):
        return [_response(whole)]
    if whole.get("type") in ("message", "error"):
        return list(_message(whole))
    raise _no_answer(answer)


def _no_answer(answer: Any) -> InvalidInputError:
    kinds = "a chat completion, a response of the Responses API, or a message of Anthropic's"
    hint = ": use record() for a stream" if hasattr(answer, "__aiter__") else ""
    return InvalidInputError("response", f"must be {kinds}, not a {type(answer).__name__}{hint}")


def _chat(whole: JsonObject) -> JsonObject:
    choices = [_choice(choice) for choice in list_of(whole.get("choices")) if isinstance(choice, dict)]
    return {**whole, "object": "chat.completion.chunk", "choices": choices}


def _choice(choice: JsonObject) -> JsonObject:
    if choice.get("delta") is not None or not isinstance(choice.get("message"), dict):
        raise InvalidInputError("response", "has a choice without a `message`: use record() for the chunks of a stream")
    message = without(choice["message"], "parsed")  # it is the package's
    if calls := list_of(message.get("tool_calls")):
        message["tool_calls"] = [_call(index, call) for index, call in enumerate(calls) if isinstance(call, dict)]
    return {**without(choice, "message"), "delta": message}


def _call(index: int, call: JsonObject) -> JsonObject:
    function = call.get("function")
    if isinstance(function, dict):
        call = {**call, "function": without(function, "parsed_arguments")}
    return {"index": index, **call}


def _response(whole: JsonObject) -> JsonObject:
    status = whole.get("status") or "completed"
    if status not in ENDED:
        raise InvalidInputError("response", f"is still {status}: retrieve it again when it is done")
    return {"type": f"response.{status}", "response": whole}


def _message(whole: JsonObject) -> Iterator[JsonObject]:
    if whole.get("type") == "error":
        yield whole
        return
    yield {"type": "message_start", "message": without(whole, "content", "stop_reason")}
    for index, block in enumerate(list_of(whole.get("content"))):
        yield from _block(index, as_object(block, "response") or {})
    yield {"type": "message_delta", "delta": {"stop_reason": whole.get("stop_reason")}}
    yield {"type": "message_stop"}


def _block(index: int, block: JsonObject) -> Iterator[JsonObject]:
    """A stream brings the input of a tool in pieces, and not where its block begins."""
    has_input = str(block.get("type")).endswith("tool_use") and "input" in block
    start = {**block, "input": {}} if has_input else block
    yield {"type": "content_block_start", "index": index, "content_block": start}
    if has_input and block["input"]:
        piece = json.dumps(block["input"], ensure_ascii=False)
        yield {
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": "input_json_delta", "partial_json": piece},
        }
    yield {"type": "content_block_stop", "index": index}
