"""One process of `writers`: it takes orders as lines of JSON on stdin and answers in the same way on stdout."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter
from typing import Any
from uuid import UUID

from benchmarks.children import order as next_order
from benchmarks.children import say as answered
from benchmarks.sessions import MODEL, LoadedSession, start_sessions
from benchmarks.workload import Workload
from turnlog.domain.errors import AppendConflictError
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings

Order = dict[str, Any]


async def serve(url: str) -> None:
    """An order is answered when all is ready; and after the line that says go, when it is done and with its counts."""
    async with SessionLog.open(Settings.from_env({"DATABASE_URL": url, "REDIS_URL": "none"})) as log:
        answered({"ready": True})
        while (order := await next_order()) is not None:
            work = _streams if order["sessions"] else _one_session
            await work(log, order)


async def _streams(log: SessionLog, order: Order) -> None:
    """Sessions of its own, each of which waits until a delta is durable."""
    sessions = await start_sessions(log, order["sessions"], Workload())
    async with AsyncExitStack() as stack:
        answers = await asyncio.gather(*(session.begin(stack) for session in sessions))
        pairs = list(zip(sessions, answers, strict=True))
        await _timed(order, [partial(_send, session, answer) for session, answer in pairs])
        await asyncio.gather(*(session.finish(answer) for session, answer in pairs))
    sent = sum(session.sent for session in sessions)
    answered({"events": sent, "refused": 0, "others": sum(session.acknowledged for session in sessions) - sent})


async def _send(session: LoadedSession, answer: Completion, until: float) -> None:
    while perf_counter() < until:
        await answer.text(session.workload.delta(session.number, session.sent))
        session.sent += 1


async def _one_session(log: SessionLog, order: Order) -> None:
    """The session that all processes append to: messages, for a step has one writer."""
    session = await log.session(UUID(order["session_id"]), MODEL)
    counts = Counter(events=0, refused=0)

    async def say(until: float) -> None:
        while perf_counter() < until:
            try:
                await session.say("Go on.")
                counts["events"] += 1
            except AppendConflictError:
                counts["refused"] += 1

    await _timed(order, [say] * order["handlers"])
    answered({**counts, "others": 0})


async def _timed(order: Order, works: list[Callable[[float], Awaitable[None]]]) -> None:
    answered({"ready": True})
    await next_order()
    until = perf_counter() + order["seconds"]
    await asyncio.gather(*(work(until) for work in works))
    answered({"done": True})


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
