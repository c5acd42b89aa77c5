"""Recording a whole answer, of a request that did not stream, as one step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from turnlog.domain.commands import EndCompletion
from turnlog.domain.inputs import check_kind, checked_optional_name
from turnlog.domain.step_appends import AnyStepAppend
from turnlog.infrastructure.append.chunks import StreamReader, reader_for
from turnlog.infrastructure.append.chunks.whole import chunks_of
from turnlog.infrastructure.append.reported import end_of
from turnlog.infrastructure.append.step_io import StepIO

ONE_APPEND = 2_000
"""Commands that are stored together with the beginning and the end of their step. An answer with more of them holds up
nobody: it is stored in several appends."""

Pieces = list[list[AnyStepAppend]]


async def record_whole(step: StepIO, response: Any, model: str | None, *, takeover: bool) -> None:
    """Records an answer, or what an awaitable gives, as this step. Raises what `StepIO.begin` and the awaitable raise,
    and InvalidInputError for what is no answer."""
    check_kind(takeover, bool, "takeover")
    model = checked_optional_name(model, "model")
    if not isinstance(response, Awaitable):
        pieces, reader = _read(response, step)
        whole = [command for piece in pieces for command in piece]
        if len(whole) <= ONE_APPEND:
            await step.begin_and_end(model, takeover, (*whole, EndCompletion(end_of(reader, step.step_id))))
            return
    await step.begin(model, takeover)
    try:
        if isinstance(response, Awaitable):
            pieces, reader = _read(await response, step)
        await _store(step, pieces, EndCompletion(end_of(reader, step.step_id)))
    except BaseException as error:
        await asyncio.shield(step.end(step.end_for(error)))
        raise
    finally:
        step.lease.left(step.step_id)


def _read(response: Any, step: StepIO) -> tuple[Pieces, StreamReader]:
    chunks = chunks_of(response)
    reader = reader_for(chunks[0], step.step_id, step.clock.now)
    step.observer.step_reads(step.step_id, reader.api)
    return [piece for chunk in chunks for piece in reader.read(chunk)], reader


async def _store(step: StepIO, pieces: Pieces, end: EndCompletion) -> None:
    if sum(map(len, pieces)) <= ONE_APPEND:
        await step.append(*(command for piece in pieces for command in piece), end)
        return
    for piece in pieces:
        await step.append(*piece)
    await step.append(end)
