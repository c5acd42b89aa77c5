"""From a reply to what is sent over HTTP, and when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turnlog.infrastructure.testing.answers import Answer, Failure, Recorded, RecordedStream, Reply, Request
from turnlog.infrastructure.testing.apis import CHAT, FakeApi
from turnlog.infrastructure.testing.corpus import Stream, lines, own_stream
from turnlog.infrastructure.testing.whole import completion, stream_error

Timed = tuple[float, bytes]
"""Seconds to wait, and what is sent then."""


@dataclass(frozen=True, slots=True)
class Playback:
    """One HTTP response. `is_cut`: the connection is lost after its parts, or before them where it is no stream."""

    parts: tuple[Timed, ...]
    is_stream: bool = True
    is_cut: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def playback(reply: Reply, request: Request, api: FakeApi, *, number: int, pace: float) -> Playback:
    """What answers the provider's request of this number. Raises ValueError for a stream that is not there."""
    if isinstance(reply, Failure):
        return failed(reply, api)
    if isinstance(reply, Recorded):
        timed = timed_stream(reply, pace)
        return _streamed(reply, timed, api) if request.get("stream") else _whole(reply, timed, api)
    timed = _timed_answer(reply, request, api, number, pace)
    if request.get("stream"):
        return _streamed(reply, timed, api)
    return _whole(reply, timed, api, json.dumps(api.whole(reply, request, number)).encode())


def failed(failure: Failure, api: FakeApi = CHAT, waited: float = 0.0) -> Playback:
    """The response that is this failure, after so many seconds and its own delay."""
    kind = "text/plain; charset=utf-8" if isinstance(failure.body, str) else "application/json"
    headers = {"Content-Type": kind, **failure.headers}
    parts = ((waited + failure.delay, api.failure(failure)),)
    return Playback(parts, is_stream=False, status=failure.status, headers=headers)


def timed_stream(recorded: Recorded, pace: float = 0.0) -> list[Timed]:
    """The chunks of a recorded stream, each with the seconds before it. Raises ValueError where it is not there."""
    chunks, recorded_ms = _chunks(recorded.stream)
    if recorded.delay is None and pace and recorded_ms is not None:
        return list(zip([delay / 1000 for delay in recorded_ms], chunks, strict=True))
    return [(pace if recorded.delay is None else recorded.delay, chunk) for chunk in chunks]


def _timed_answer(answer: Answer, request: Request, api: FakeApi, number: int, pace: float) -> list[Timed]:
    delay = pace if answer.delay is None else answer.delay
    return [(delay, json.dumps(event).encode()) for event in api.events(answer, request, number)]


def _chunks(stream: RecordedStream) -> tuple[Iterable[bytes], Sequence[float] | None]:
    """The payloads of a stream, and the milliseconds before each where they were recorded."""
    if isinstance(stream, str):
        stream = own_stream(stream) or Path(stream)
    if isinstance(stream, Stream):
        return stream.chunks, stream.delays_ms
    if isinstance(stream, Path):
        if not stream.is_file():
            raise ValueError(f"no such stream: {stream}")
        return lines(stream.read_bytes()), None
    return [chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode() for chunk in stream], None


def _streamed(reply: Answer | Recorded, timed: Sequence[Timed], api: FakeApi) -> Playback:
    events = [(delay, api.event(payload)) for delay, payload in timed[: _fails_after(reply, timed)]]
    if _fails_after(reply, timed) is None:
        return Playback((*events, (0.0, api.end)) if api.end else tuple(events))
    if reply.fails_with is None:
        return Playback(tuple(events), is_cut=True)
    return Playback((*events, (reply.fails_with.delay, api.event(api.failure_event(reply.fails_with)))))


def _whole(reply: Answer | Recorded, timed: Sequence[Timed], api: FakeApi, body: bytes | None = None) -> Playback:
    """`body` is the answer in one piece; that of a recorded stream is what its chunks come to."""
    fails_after = _fails_after(reply, timed)
    waited = sum(delay for delay, _ in timed[:fails_after])
    if fails_after is not None:
        cut = Playback(((waited, b""),), is_stream=False, is_cut=True)
        return cut if reply.fails_with is None else failed(reply.fails_with, api, waited)
    if body is None:
        chunks = [json.loads(payload) for _, payload in timed]
        if error := stream_error(chunks):
            return failed(Failure(body={"error": error}), api, waited)
        body = json.dumps(completion(chunks)).encode()
    return Playback(((waited, body),), is_stream=False, headers={"Content-Type": "application/json"})


def _fails_after(reply: Answer | Recorded, timed: Sequence[Timed]) -> int | None:
    """A reply with an error and no count fails at its end."""
    return len(timed) if reply.fails_after is None and reply.fails_with is not None else reply.fails_after
