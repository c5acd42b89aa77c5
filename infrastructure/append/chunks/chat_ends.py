"""What a Chat Completions stream says of its end: errors in all their shapes, and usage wherever it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from turnlog.domain.limits import MAX_REASON_LENGTH
from turnlog.domain.quoting import cut
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.append.chunks.fields import Fields, as_object, fields_of

_TEXTS = ("message", "msg", "error_message", "errorMessage", "error_msg", "status_msg", "detail", "errors",
          "faultstring", "description", "reason")  # fmt: skip
"""Where the text of an error may stand, the likeliest first."""
_CODES = ("code", "error_code", "errorCode", "status_code", "statusCode", "status")
_ERRORS = ("detail", "errors", "error_message", "errorMessage", "error_msg", "error_code", "errorCode", "fault")
"""Fields of which an object that is no chunk has one if it is an error: FastAPI's `detail`, and those of relays."""
_FINE = (None, False, 0, "0", "", 200, "200", "ok", "OK", "success", "SUCCESS")
"""Codes of relays that say in each chunk that nothing is wrong."""


def error_in(fields: Fields, *, has_choices: bool) -> Any:
    """What a chunk says went wrong: a text, or an object in one of many shapes. None if it says nothing of the kind."""
    if error := fields.get("error"):
        return error
    reply = fields.get("base_resp")  # MiniMax
    if isinstance(reply, dict) and reply.get("status_code") not in _FINE:
        return reply
    if has_choices:
        return None
    if "error" in (fields.get("type"), fields.get("object")):
        return fields
    return fields if isinstance(fields, dict) and _is_error(fields) else None


def _is_error(fields: dict[str, Any]) -> bool:
    """Whether something without choices is an error. A message alone, or with a code, is the error of a gateway."""
    if any(fields.get(name) not in _FINE for name in _ERRORS):
        return True
    text = fields.get("message") or fields.get("msg")
    if not isinstance(text, str) or not text or any(fields.get(name) for name in ("object", "choices", "usage")):
        return False
    codes = [fields[name] for name in _CODES if name in fields]
    return not all(code in _FINE for code in codes) if codes else "id" not in fields


def error_text(error: Any) -> str:
    """The message of a provider's error object, or the object as text."""
    return cut(_text(error) or str(error), MAX_REASON_LENGTH)


def _text(error: Any, depth: int = 3) -> str:
    if isinstance(error, str):
        return error
    fields = fields_of(error)
    for name in _TEXTS:
        if found := fields.get(name):
            if isinstance(found, str):
                return found
            inner = _text(found, depth - 1) if isinstance(found, dict) and depth else ""
            return inner or _as_json(found)
    return _text(fields.get("fault"), depth - 1) if isinstance(fields.get("fault"), dict) and depth else ""


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def failure_in(error: Any) -> JsonObject:
    """The HTTP `status` of an error, and its `type`, `code` and `message`, as far as there are any."""
    fields, failure = fields_of(error), JsonObject()
    code = next((found for name in _CODES if (found := fields.get(name)) is not None), None)
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
        failure["status"] = code
    elif isinstance(code, int | str):
        failure["code"] = cut(str(code), MAX_REASON_LENGTH)
    kind = fields.get("type") or fields.get("error_type")
    if isinstance(kind, str) and kind != "error":
        failure["type"] = cut(kind, MAX_REASON_LENGTH)
    if text := _text(error):
        failure["message"] = cut(text, MAX_REASON_LENGTH)
    return failure


class UsageReports:
    """The usage of a response, from all that was reported of it."""

    def __init__(self) -> None:
        self._said: JsonObject | None = None
        self._vendors: JsonObject | None = None

    @property
    def usage(self) -> JsonObject | None:
        """What was said under the name of `usage`, or else what a vendor has under a name of its own."""
        return self._said or self._vendors

    def take(self, *places: Fields) -> None:
        """Takes the `usage` of a chunk, a choice, a delta or a message: providers report it in any of them."""
        for place in places:
            if (usage := place.get("usage")) and (read := as_object(usage)):
                self._said = _more_complete(self._said, read)

    def take_vendors(self, chunk: Fields) -> None:
        """Takes what stands in a field of the vendor's own."""
        if chunk.keys().isdisjoint(VENDORS_USAGE):
            return
        for usage in _vendors_usage(chunk):
            if read := as_object(usage):
                self._vendors = _more_complete(self._vendors, read)


VENDORS_USAGE = ("x_groq", "usageMetadata", "usage_metadata", "amazon-bedrock-invocationMetrics", "timings",
                 "token_usage", "prompt_eval_count", "meta")  # fmt: skip
"""Fields of chunks that hold usage: of Groq, Gemini (two), Bedrock, llama.cpp, relays, Ollama, and Cohere."""
_INSIDE = ("usage", "billed_units", "tokens")


def _vendors_usage(chunk: Fields) -> Iterator[Any]:
    for name in VENDORS_USAGE:
        value = chunk.get(name)
        if name == "prompt_eval_count" and isinstance(value, int):
            yield {key: chunk.get(key) for key in (name, "eval_count") if isinstance(chunk.get(key), int)}
        elif value and name in ("x_groq", "meta"):
            inner = fields_of(value)
            yield from (inner.get(key) for key in _INSIDE if inner.get(key))
        elif value:
            yield value


def _more_complete(known: JsonObject | None, new: JsonObject) -> JsonObject:
    """The latest report. What it lacks is as it was reported before: some report each kind of tokens by itself."""
    if known is None:
        return new
    merged = dict(new)
    for key, before in known.items():
        now = new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            merged[key] = _more_complete(before, now)
        elif now is None:
            merged[key] = before
    return merged
