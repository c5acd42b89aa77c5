"""The end of a step as its provider has said it."""

from __future__ import annotations

from typing import Any

from turnlog.domain.events import CompletionFailed, CompletionFinished, StepEnd
from turnlog.infrastructure.append.chunks import StreamReader
from turnlog.infrastructure.clock import now


def end_of(reader: StreamReader | None, step_id: str) -> StepEnd:
    """The end of a step whose stream has come to its end. `reader` is what has read it; None if nothing came."""
    if reader is None:
        return CompletionFinished(at=now(), step_id=step_id, finish_reason=None)
    error = reader.error or reader.missing_end()
    if error is not None:
        return CompletionFailed(at=now(), step_id=step_id, error=error, failure=reader.failure, **reported(reader))
    return CompletionFinished(at=now(), step_id=step_id, finish_reason=reader.finish_reason, **reported(reader))


def reported(reader: StreamReader | None) -> dict[str, Any]:
    """What the provider says of its response, for the end of the step."""
    if reader is None:
        return {}
    details = reader.details or None
    return {"model": reader.model, "response_id": reader.response_id, "usage": reader.usage, "details": details}
