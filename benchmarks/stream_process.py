"""One process of `processes`: it opens a log when it is told to, streams, and says what became of it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.children import order, say
from benchmarks.sessions import LoadedSession, start_sessions
from benchmarks.workload import Workload
from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings


async def serve(settings: Settings) -> None:
    """Does one order."""
    say({"ready": True})
    told = await order() or {}
    waits, sessions, error = list[float](), list[LoadedSession](), dict[str, str]()
    began = time.process_time()
    try:
        async with SessionLog.open(settings) as log:
            sessions += await start_sessions(log, told["streams"], Workload())
            async with AsyncExitStack() as stack:
                answers = await asyncio.gather(*(session.begin(stack) for session in sessions))
                pairs = zip(sessions, answers, strict=True)
                await asyncio.gather(*(_stream(told, session, answer, waits) for session, answer in pairs))
                await asyncio.gather(*map(LoadedSession.finish, sessions, answers))
    except TurnlogError as failure:
        error = {"error": f"{type(failure).__name__}: {failure}"}
    say(
        {
            "events": sum(session.acknowledged for session in sessions),
            "waits": [round(wait, 6) for wait in waits],
            "cpu": time.process_time() - began,
            **error,
        }
    )


async def _stream(told: dict[str, Any], session: LoadedSession, answer: Completion, waits: list[float]) -> None:
    began = time.perf_counter() + session.number / told["streams"] / told["pace"]
    for number in range(max(1, round(told["seconds"] * told["pace"]))):
        await asyncio.sleep(max(0.0, began + number / told["pace"] - time.perf_counter()))
        called = time.perf_counter()
        await answer.text(session.workload.delta(session.number, session.sent))
        session.sent += 1
        waits.append(time.perf_counter() - called)


if __name__ == "__main__":
    asyncio.run(serve(Settings(**json.loads(sys.argv[1]))))
