"""What the processes of tests do; see `processes`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from tests.processes import Line
from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings


async def append(line: Line, settings: Settings, session_id: UUID, name: str, count: int) -> None:
    """Says `count` messages and counts each, as soon as it is told to."""
    async with SessionLog.open(settings) as log:
        session = await log.session(session_id, SYSTEM)
        line.say("ready")
        await line.hear()
        for number in range(count):
            await session.say(f"{name}-{number}", message_id=f"{name}-{number}")
            await session.increment("said", name)
    line.say("done")


async def record_for_ever(line: Line, settings: Settings, session_ids: Sequence[UUID]) -> None:
    """Answers in each session, step after step, and says each thing once it is durable: it waits to be killed."""
    async with SessionLog.open(settings) as log:
        line.say(("open", None, None))
        await asyncio.gather(*(_answer_for_ever(line, log.session(session_id, SYSTEM)) for session_id in session_ids))


async def _answer_for_ever(line: Line, session: Session) -> None:
    for turn in itertools.count():
        await session.say(f"question {turn}", message_id=f"m-{turn}")
        line.say(("said", session.id, f"m-{turn}"))
        recording = session.record(_numbers(turn))
        async for chunk in recording:
            if (content := chunk["choices"][0]["delta"].get("content")) is not None:
                line.say(("shown", session.id, (recording.step_id, content)))
        await session.add_tool_result("call", f"result {turn}", step_id=recording.step_id)
        line.say(("answered", session.id, recording.step_id))


async def _numbers(turn: int) -> AsyncIterator[dict[str, Any]]:
    """A text that counts, and a call with arguments in fragments."""
    for number in range(5 + turn * 20):
        yield {"choices": [{"delta": {"content": f"{number} "}}]}
        await asyncio.sleep(0)
    call = {"index": 0, "id": "call", "function": {"name": "count", "arguments": ""}}
    for arguments in ("", '{"to"', ": 1", "}"):
        call["function"] = {"name": "count" if not arguments else None, "arguments": arguments}
        yield {"choices": [{"delta": {"tool_calls": [call]}}]}
    yield {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}


async def record_slowly(line: Line, settings: Settings, session_id: UUID, pause: float) -> None:
    """Records an endless answer, and says each number once it is durable, and the error that ends it."""
    async with SessionLog.open(settings) as log:
        session = log.session(session_id, SYSTEM)
        try:
            async for chunk in session.record(_endless(pause)):
                line.say(chunk["choices"][0]["delta"]["content"])
        except TurnlogError as error:
            line.say(type(error).__name__)


async def write_in_bursts(line: Line, settings: Settings, session_id: UUID) -> None:
    """Writes a step with many deltas under way at any time, and says the error that ends it."""
    async with SessionLog.open(settings) as log, log.session(session_id, SYSTEM).completion() as completion:
        line.say("open")
        errors: list[BaseException] = []
        while not errors:
            burst = (completion.text("x") for _ in range(200))
            outcomes = await asyncio.gather(*burst, return_exceptions=True)
            errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        line.say(sorted({type(error).__name__ for error in errors}))


async def _endless(pause: float) -> AsyncIterator[dict[str, Any]]:
    for number in itertools.count():
        yield {"choices": [{"delta": {"content": f"{number} "}}]}
        await asyncio.sleep(pause)


async def give_results(line: Line, settings: Settings, session_id: UUID) -> None:
    """Gives the results that it is told to, one after the other, and says what became of each."""
    async with SessionLog.open(settings) as log:
        session = log.session(session_id, SYSTEM)
        while (result := await line.hear()) is not None:
            try:
                await session.add_tool_result(**result)
            except TurnlogError as error:
                line.say(type(error).__name__)
            else:
                line.say("accepted")
