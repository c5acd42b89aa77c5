"""What the processes of tests do; see `processes`."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from uuid import UUID

from openai import AsyncOpenAI

from tests.support.processes import Line
from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.tables.projection import Projection


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


async def record(line: Line, settings: Settings, session_id: UUID, pause: float, count: int | None = None) -> None:
    """Records an answer that counts, for ever or so far, and says each number once it is durable. Then "ended", or the
    error that ended it."""
    numbers = itertools.count() if count is None else range(count)
    async with SessionLog.open(settings) as log:
        session = log.session(session_id, SYSTEM)
        try:
            async for chunk in session.record(_slowly(numbers, pause)):
                line.say(chunk["choices"][0]["delta"]["content"])
        except TurnlogError as error:
            line.say(type(error).__name__)
        else:
            line.say("ended")


async def _slowly(numbers: Iterable[int], pause: float) -> AsyncIterator[dict[str, Any]]:
    for number in numbers:
        yield {"choices": [{"delta": {"content": f"{number} "}}]}
        await asyncio.sleep(pause)


async def ask(line: Line, settings: Settings, session_id: UUID, url: str) -> None:
    """Asks the provider and says what is shown of its answer; "ended" when the loop ended as at the end of a stream."""
    async with SessionLog.open(settings) as log, AsyncOpenAI(base_url=url, api_key="none") as client:
        session = log.session(session_id, SYSTEM)
        stream = await client.chat.completions.create(model="slow", messages=await session.prompt(), stream=True)
        async for chunk in session.record(stream):
            line.say(chunk.choices[0].delta.content)
        line.say("ended")
        await line.hear()


async def follow(line: Line, settings: Settings, session_id: UUID, count: int) -> None:
    """Has many followers until the turn ends; says "following", and then the positions that each saw."""
    async with SessionLog.open(settings) as log:
        session = log.session(session_id, SYSTEM)

        async def positions() -> list[int]:
            return [recorded.position async for recorded in session.follow(until_turn_ends=True)]

        following = asyncio.gather(*(positions() for _ in range(count)))
        await asyncio.sleep(0)
        await session.view()
        line.say("following")
        line.say(await following)


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


async def converse(line: Line, settings: Settings, user_id: str, sessions: int, steps: int, deltas: int) -> None:
    """Answers in new sessions of the user at once, as soon as it is told to, and says how many events it stored."""
    async with SessionLog.open(settings) as log:
        line.say("ready")
        await line.hear()
        await asyncio.gather(*(_converse(log, user_id, steps, deltas) for _ in range(sessions)))
        line.say(log.writer_statistics.events)


async def _converse(log: SessionLog, user_id: str, steps: int, deltas: int) -> None:
    session = await log.start_session(user_id)
    for step in range(steps):
        async with session.completion(model=f"m{step % 2}") as completion:
            for number in range(deltas):
                await completion.text(f"{number} ")
            await completion.finish("stop", usage={"prompt_tokens": 7, "completion_tokens": deltas})


async def keep_up(line: Line, settings: Settings, projection: Projection) -> None:
    """Keeps a projection up to the log until it is told to stop, and says where it is then."""
    async with SessionLog.open(settings) as log:
        worker = log.projections.worker(projection)
        running = asyncio.create_task(worker.run())
        line.say("ready")
        await line.hear()
        worker.stop()
        line.say(await running)


async def rebuild(line: Line, settings: Settings, projection: Projection) -> None:
    """Rebuilds a projection, and says how far it is after each batch, and "done"."""
    async with SessionLog.open(settings) as log:
        await log.projections.rebuild(projection, lambda done, total: line.say((done, total)))
        line.say("done")


async def record_until_told(line: Line, settings: Settings, session_id: UUID) -> None:
    """Records for ever, and leaves as at Ctrl-C when it is sent SIGTERM."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await record(line, settings, session_id, 0.01)


async def answer(line: Line, settings: Settings, session_id: UUID, url: str, options: dict[str, Any]) -> None:
    """Answers with a tool that never ends, which says "tool"; says how the answer came out, or which error it gave."""

    async def wait() -> str:
        line.say("tool")
        await asyncio.Event().wait()
        return ""

    async with SessionLog.open(settings) as log, AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        session = log.session(session_id, SYSTEM)
        try:
            outcome = await session.answer(client, model="m", tools=[wait], **options)
        except TurnlogError as error:
            line.say(type(error).__name__)
        else:
            line.say((outcome.status, outcome.text))


async def answer_all(line: Line, settings: Settings, session_id: UUID, url: str, name: str, count: int) -> None:
    """Answers `count` messages at once, as soon as it is told to, and says how each came out."""
    ways = itertools.cycle(["steer", "queue"])
    asked = [{"message_id": f"{name}-{number}", "on_busy": next(ways)} for number in range(count)]
    await _answer_at_once(line, settings, session_id, url, asked)


async def answer_again(line: Line, settings: Settings, session_id: UUID, url: str, name: str, count: int) -> None:
    """Answers one message `count` times at once, as soon as it is told to, and says how each came out."""
    await _answer_at_once(line, settings, session_id, url, [{"message_id": name}] * count)


async def _answer_at_once(
    line: Line, settings: Settings, session_id: UUID, url: str, asked: Sequence[dict[str, Any]]
) -> None:
    async with SessionLog.open(settings) as log, AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        session = log.session(session_id, SYSTEM)
        line.say("ready")
        await line.hear()
        answers = [session.answer(client, model="m", message=one["message_id"], **one) for one in asked]
        outcomes = await asyncio.gather(*answers)
        line.say([(outcome.status, outcome.text, outcome.is_new) for outcome in outcomes])
