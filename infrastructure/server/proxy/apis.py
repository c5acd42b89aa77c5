"""The three APIs whose requests are recorded: where they are, what a request says, and how an error looks there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.values import JsonObject

ApiFormat = Literal["chat", "responses", "anthropic"]


class RecordedApi(NamedTuple):
    """`messages` is what a request says, as messages of its format, with what the system says in front."""

    format: ApiFormat
    path: str
    messages: Callable[[JsonObject], list[JsonObject]]


def _chat_messages(body: JsonObject) -> list[JsonObject]:
    return _objects(body.get("messages"), "messages")


def _anthropic_messages(body: JsonObject) -> list[JsonObject]:
    system = body.get("system")
    said = [{"role": "system", "content": system}] if system else []
    return [*said, *_objects(body.get("messages"), "messages")]


def _response_items(body: JsonObject) -> list[JsonObject]:
    if body.get("background"):
        raise InvalidInputError("background", "an answer that comes later is not recorded")
    system, given = body.get("instructions"), body.get("input")
    said = [{"role": "system", "content": system}] if system else []
    if isinstance(given, str):
        return [*said, {"role": "user", "content": given}]
    return [*said, *([] if given is None else _objects(given, "input"))]


def _objects(value: Any, field: str) -> list[JsonObject]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidInputError(field, "must be a list of objects")
    return list(value)


APIS: Mapping[str, RecordedApi] = {
    api.path: api
    for api in (
        RecordedApi("chat", "chat/completions", _chat_messages),
        RecordedApi("responses", "responses", _response_items),
        RecordedApi("anthropic", "messages", _anthropic_messages),
    )
}
"""By the path of a request, below the version."""


def is_anthropic(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a request is one of Anthropic's API: by its path, and where both APIs have it by its header."""
    return path.partition("/")[0] == "messages" or "anthropic-version" in headers


_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
}


def refusal(*, anthropic: bool, status: int, code: str, message: str) -> JsonObject:
    """An error of ours, as the provider's own look: its packages raise the errors that callers know."""
    kind = _KINDS.get(status, "api_error" if anthropic else "server_error")
    if anthropic:
        return {"type": "error", "error": {"type": kind, "message": message, "code": code}}
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_event(api: RecordedApi, message: str) -> bytes:
    """An error of ours as the last event of a stream of this API."""
    if api.format == "responses":
        event = {"type": "error", "code": "unrecorded", "message": message, "param": None, "sequence_number": 0}
    else:
        event = refusal(anthropic=api.format == "anthropic", status=503, code="unrecorded", message=message)
    data = b"data: " + json.dumps(event).encode() + b"\n\n"
    return data if api.format == "chat" else b"event: error\n" + data
