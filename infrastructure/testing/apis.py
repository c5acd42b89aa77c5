"""The APIs that a fake provider speaks: where, what they take, and the shape of what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from turnlog.infrastructure.testing.answers import Answer, Failure, Request
from turnlog.infrastructure.testing.anthropic_events import anthropic_events, anthropic_message
from turnlog.infrastructure.testing.chunks import answer_chunks
from turnlog.infrastructure.testing.response_events import response_events, whole_response
from turnlog.infrastructure.testing.validation import check_request
from turnlog.infrastructure.testing.validation_of_items import check_anthropic_request, check_response_request
from turnlog.infrastructure.testing.whole import completion

Json = dict[str, Any]


class FakeApi(NamedTuple):
    """One API. `events` are the payloads of a stream, `whole` is the answer in one piece, `check` raises
    RequestRefusedError for what the real API refuses. `names_events`: each has its type as a line of its own, and the
    end of the stream is one of them. `failure` is the body of an error, `failure_event` an error inside a stream."""

    check: Callable[[Mapping[str, Any], bool], None]
    events: Callable[[Answer, Request, int], list[Json]]
    whole: Callable[[Answer, Request, int], Json]
    names_events: bool
    failure: Callable[[Failure], bytes]
    failure_event: Callable[[Failure], bytes]

    def event(self, payload: bytes) -> bytes:
        """A payload as a server-sent event."""
        data = b"data: " + payload + b"\n\n"
        return b"event: " + json.loads(payload)["type"].encode() + b"\n" + data if self.names_events else data

    @property
    def end(self) -> bytes:
        """What comes behind the last event."""
        return b"" if self.names_events else b"data: [DONE]\n\n"


def _check_chat(body: Mapping[str, Any], strict: bool) -> None:
    check_request(body, strict=strict)


def _whole_chat(answer: Answer, request: Request, number: int) -> Json:
    return completion(answer_chunks(answer, request, number))


def _as_given(failure: Failure) -> bytes:
    return failure.payload()


def _of_anthropic(failure: Failure) -> bytes:
    if failure.body is not None:
        return failure.payload()
    kind = failure.type or _KINDS.get(failure.status, "api_error")
    return json.dumps({"type": "error", "error": {"type": kind, "message": failure.text}}).encode()


def _event_of_responses(failure: Failure) -> bytes:
    if failure.body is not None:
        return failure.payload()
    code = failure.code or "server_error"
    event = {"type": "error", "code": code, "message": failure.text, "param": failure.param, "sequence_number": 0}
    return json.dumps(event).encode()


_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}

FAKE_APIS: dict[str, FakeApi] = {
    "/v1/chat/completions": FakeApi(_check_chat, answer_chunks, _whole_chat, False, _as_given, _as_given),
    "/v1/responses": FakeApi(
        check_response_request, response_events, whole_response, True, _as_given, _event_of_responses
    ),
    "/v1/messages": FakeApi(
        check_anthropic_request, anthropic_events, anthropic_message, True, _of_anthropic, _of_anthropic
    ),
}
"""By the path of a request."""
CHAT = FAKE_APIS["/v1/chat/completions"]
