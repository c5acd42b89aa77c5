"""The processes of `processes`: each opens a log, streams, and says what became of it. They are forked from one that
has done the imports."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

from benchmarks.children import say
from benchmarks.sessions import LoadedSession, start_sessions
from benchmarks.workload import Workload
from turnlog.domain.errors import TurnlogError
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings

_NOTHING: dict[str, Any] = {"events": 0, "waits": [], "cpu": 0.0}


def serve(job: str) -> None:
    """Forks as many processes as each order says, and gives their answers when all have ended."""
    settings = Settings(**json.loads(job))
    for drivers in ("store.store", "store.group_commit"):
        import_module(f"turnlog.infrastructure.{drivers}")
    import_module("redis.asyncio")
    say({"ready": True})
    while line := sys.stdin.readline():
        told = json.loads(line)
        pipes = [_forked(settings, told) for _ in range(told["processes"])]
        say({"answers": [_answer(*each) for each in pipes]})


def _forked(settings: Settings, told: dict[str, Any]) -> tuple[int, int]:
    """A process, and what it writes its answer to. It has not yet opened anything: what it imports is here."""
    reads, writes = os.pipe()
    if process := os.fork():
        os.close(writes)
        return process, reads
    with os.fdopen(writes, "w") as answer:
        json.dump(asyncio.run(_work(settings, told)), answer)
    os._exit(0)


def _answer(process: int, reads: int) -> dict[str, Any]:
    with os.fdopen(reads) as pipe:
        text = pipe.read()
    os.waitpid(process, 0)
    found: dict[str, Any] = json.loads(text) if text else {**_NOTHING, "error": "a process has died"}
    return found


async def _work(settings: Settings, told: dict[str, Any]) -> dict[str, Any]:
    """Opens a log, streams, and closes it."""
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
    return {
        "events": sum(session.acknowledged for session in sessions),
        "waits": [round(wait, 6) for wait in waits],
        "cpu": time.process_time() - began,
        **error,
    }


async def _stream(told: dict[str, Any], session: LoadedSession, answer: Completion, waits: list[float]) -> None:
    began = time.perf_counter() + session.number / told["streams"] / told["pace"]
    for number in range(max(1, round(told["seconds"] * told["pace"]))):
        await asyncio.sleep(max(0.0, began + number / told["pace"] - time.perf_counter()))
        called = time.perf_counter()
        await answer.text(session.workload.delta(session.number, session.sent))
        session.sent += 1
        waits.append(time.perf_counter() - called)


if __name__ == "__main__":
    serve(sys.argv[1])
