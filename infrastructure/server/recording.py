"""Recording for handlers in other languages: they ask the provider themselves, and pass on what it says."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import Response

from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.append.recording import Recording
from turnlog.infrastructure.server import answers, bodies, problems
from turnlog.infrastructure.server.answers import answer
from turnlog.infrastructure.server.asking import Asking, Mine
from turnlog.infrastructure.server.lines import KINDS, body_lines, check_kind, chunks
from turnlog.infrastructure.server.routes import Routes
from turnlog.infrastructure.server.sending import NDJSON, DuplexResponse
from turnlog.infrastructure.session import Session

routes = Routes("recording")

_EXAMPLE = (
    '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hi"},'
    '"finish_reason":null}]}\n'
    '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},'
    '"finish_reason":"stop"}]}\n'
)
_CHUNKS = {
    "requestBody": {
        "required": True,
        "description": "The provider's chunks, one a line, or its server-sent events as they came.",
        "content": {kind: {"schema": {"type": "string"}, "example": _EXAMPLE} for kind in KINDS[:1]},
    }
}
_ACKS = {200: {"description": "A line for each chunk.", "content": {NDJSON: {"schema": {"type": "string"}}}}}


@routes.add("POST", "/sessions/{session_id}/record", refuses=(409, 415), openapi_extra=_CHUNKS, responses=_ACKS)
async def record(
    request: Request,
    asking: Asking,
    session: Mine,
    model: str | None = None,
    takeover: Annotated[bool, Query(description="Wait for the lease of a writer that is gone.")] = False,
) -> Response:
    """Records a provider's stream as one step, while it is sent.

    Each chunk is answered with a line once it is durable: `{"chunk": 1}`, and the end with the `step_id`, its `status`,
    and the problem if there was one. A body that breaks off has failed, and what came stays. Each request is a step of
    its own.
    """
    check_kind(request)
    stream = chunks(body_lines(request, asking.desk.max_body_bytes))
    recording = session.record(stream, model, takeover=takeover)
    is_empty = await anext(recording, None) is None  # what is refused is refused before there is a byte
    return DuplexResponse(_acks(session, recording, is_empty), NDJSON)


async def _acks(session: Session, recording: Recording[Any], is_empty: bool) -> AsyncGenerator[bytes]:
    count, problem = 0 if is_empty else 1, None
    if not is_empty:
        yield _line({"chunk": count})
    try:
        async with aclosing(recording):
            async for _ in recording:
                count += 1
                yield _line({"chunk": count})
    except TurnlogError as error:
        row = problems.problem_of(error)
        problem = problems.body(row, str(error) if row.is_told else "")
    except ConnectionError:
        return  # nobody is there to be told
    yield _line(await _end(session, recording.step_id, count, problem))


async def _end(session: Session, step_id: str, count: int, problem: Any) -> dict[str, Any]:
    view = await session.view()
    status = next((step.status for turn in view.turns for step in turn.steps if step.step_id == step_id), None)
    said = {"step_id": step_id, "status": status, "chunks": count}
    return said if problem is None else {**said, "problem": problem}


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode() + b"\n"


@routes.add("POST", "/sessions/{session_id}/record/whole", gives=answers.Recorded, status=201, refuses=(409,))
async def record_whole(session: Mine, body: bodies.WholeAnswer) -> Response:
    """Records a whole answer as one step. The same answer again is another step."""
    step_id = await session.record_whole(body.response, body.model, takeover=body.takeover)
    return answer(answers.Recorded(step_id=step_id), 201)
