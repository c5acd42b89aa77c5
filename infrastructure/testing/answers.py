"""What a fake provider is told to answer, and the request that it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from http.client import responses
from pathlib import Path
from typing import Any, TypeAlias

from turnlog.infrastructure.testing.corpus import Stream

Pieces: TypeAlias = str | Sequence[str]
"""A text, which is streamed word by word, or its pieces, which are streamed as they are."""


class Request(dict[str, Any]):
    """The JSON body of a request, such as `request["messages"]`, with `headers` by their names in lower case."""

    def __init__(self, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body or {})
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in the shape of OpenAI's: before an answer, or inside a stream as its `fails_with`.

    `status` is the HTTP status; what else is not given is what OpenAI says with that status. `headers` are sent too,
    such as `{"retry-after": "1"}`. `delay` is in seconds. `body` is sent in place of the usual JSON: a mapping as JSON,
    a text as it is, like the page of a proxy. Inside a stream only the body counts.
    """

    status: int = 500
    _: KW_ONLY
    message: str | None = None
    type: str | None = None
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    body: Mapping[str, Any] | str | None = None

    @property
    def text(self) -> str:
        """The message, or the usual one of this status."""
        if self.message is not None:
            return self.message
        return _MESSAGES.get(self.status) or responses.get(self.status, f"Status {self.status}")

    def payload(self) -> bytes:
        """The body as it is sent."""
        if isinstance(self.body, str):
            return self.body.encode()
        kind = self.type or ("server_error" if self.status >= 500 else "invalid_request_error")
        error = {"message": self.text, "type": kind, "param": self.param, "code": self.code or _CODES.get(self.status)}
        return json.dumps({"error": error} if self.body is None else self.body).encode()


_MESSAGES = {
    401: "Incorrect API key provided.",
    429: "Rate limit reached for requests.",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "The server is currently overloaded with other requests. Sorry about that!",
}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call of an answer. `arguments` that are a text are sent as they are, valid JSON or not.

    Without an `id` one is made up that no other call of the provider has.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer, streamed or whole, as the request wants it.

    `finish_reason` is "tool_calls" where there are some and else "stop", unless given ("length", "content_filter").
    `usage` is a rough count unless given. `delay` is in seconds before each chunk, the provider's `pace` when None.

    `fails_after` that many chunks (a piece of text is one) the connection is lost, or `fails_with` is sent as an error
    inside the stream. Where the request does not stream, the connection is lost or `fails_with` sent without an answer.
    """

    text: Pieces = ""
    _: KW_ONLY
    tool_calls: Sequence[ToolCall] = ()
    reasoning: Pieces = ""
    refusal: Pieces = ""
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    delay: float | None = None
    fails_after: int | None = None
    fails_with: Failure | None = None


RecordedStream: TypeAlias = str | Path | Stream | Sequence[Mapping[str, Any] | bytes]
"""A name, a file of one chunk a line, or the chunks."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded stream, played byte for byte: the name of one that ships with turnlog, a JSONL file, or its chunks.

    `delay`, `fails_after` and `fails_with` are those of `Answer`; without a `delay`, a stream whose times were recorded
    keeps them, unless the provider's `pace` is 0.
    """

    stream: RecordedStream
    _: KW_ONLY
    delay: float | None = None
    fails_after: int | None = None
    fails_with: Failure | None = None


Reply: TypeAlias = Answer | Failure | Recorded
"""What a request can be answered with."""

Scripted: TypeAlias = Reply | Callable[[Request], Reply]
"""An entry of a script: a reply, or a function that is given the request and returns one."""
