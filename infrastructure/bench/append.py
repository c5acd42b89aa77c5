"""`bench append`: many sessions, each of which waits until its delta is durable before it sends the next one.

Beside it, in turn and on the same server: the limit (`copy_limit`) and the peer (`plain`).
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from turnlog.infrastructure.bench.copy_limit import CopyLimit
from turnlog.infrastructure.bench.measuring import Spread, machine, percentile, ratios
from turnlog.infrastructure.bench.plain import Plain
from turnlog.infrastructure.bench.report import Progress
from turnlog.infrastructure.bench.server import fresh_database
from turnlog.infrastructure.bench.sessions import LoadedSession, all_there, start_sessions
from turnlog.infrastructure.bench.workload import Workload
from turnlog.infrastructure.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings

_WARM_UP = 3  # deltas a session before the clock starts


@dataclass(frozen=True, slots=True)
class AppendOptions:
    """In each repeat `deltas` a session or `seconds`, whichever ends first."""

    sessions: int
    deltas: int
    seconds: float
    repeat: int
    plain_seconds: float
    database_url: str | None


@dataclass(frozen=True, slots=True)
class Round:
    """What turnlog did in one repeat."""

    events: int
    seconds: float
    commits: int
    log_positions: tuple[int, int]
    """Of the last event before it, and of its own last."""
    waits: Sequence[float]
    """Sorted, in seconds."""

    def numbers(self) -> dict[str, float]:
        """What is reported of it."""
        return {
            "events": self.events,
            "events_per_second": self.events / self.seconds,
            "events_per_commit": self.events / self.commits,
            "ack_p50_ms": percentile(self.waits, 50) * 1e3,
            "ack_p99_ms": percentile(self.waits, 99) * 1e3,
        }


async def measure_append(options: AppendOptions, say: Progress) -> dict[str, Any]:
    """Runs the benchmark and returns the report."""
    async with AsyncExitStack() as stack:
        contest = await _prepared(options, stack, say)
        repeats = []
        for number in range(options.repeat):
            say(f"repeat {number + 1} of {options.repeat}: turnlog, COPY, eventsourcing")
            repeats.append(await contest.repeat())
        say("verifying")
        return _report(options, repeats, await contest.outcome())


async def _prepared(options: AppendOptions, stack: AsyncExitStack, say: Progress) -> _Contest:
    say(f"starting {options.sessions} sessions")
    url = stack.enter_context(fresh_database(options.database_url))
    log = await stack.enter_async_context(SessionLog.open(Settings(database_url=url, redis_url="none")))
    workload = Workload()
    sessions = await start_sessions(log, options.sessions, workload)
    copy = stack.enter_context(CopyLimit(url))
    plain = await stack.enter_async_context(Plain(url, options.sessions, workload))
    return _Contest(options, url, log, sessions, copy, plain)


@dataclass(frozen=True, slots=True)
class _Contest:
    options: AppendOptions
    url: str
    log: SessionLog
    sessions: Sequence[LoadedSession]
    copy: CopyLimit
    plain: Plain

    async def repeat(self) -> dict[str, float]:
        """turnlog, the limit and the peer, one after the other."""
        ours = await self._turnlog()
        return {
            **ours.numbers(),
            "copy_rows_per_second": self.copy.rows_per_second(*ours.log_positions),
            "plain_events_per_second": await self.plain.events_per_second(self.options.plain_seconds),
        }

    async def outcome(self) -> dict[str, Any]:
        """What to say beside the numbers."""
        verified = await all_there(self.url, self.sessions)
        return {"verified": verified, "machine": machine((await self.log.inspect())["postgres"])}

    async def _turnlog(self) -> Round:
        """One turn in every session. Opening, warming up and closing the steps is not in the time."""
        async with AsyncExitStack() as stack:
            answers = await asyncio.gather(*(self._begin(session, stack) for session in self.sessions))
            measured = await self._streamed(answers)
            await asyncio.gather(
                *(session.finish(answer) for session, answer in zip(self.sessions, answers, strict=True))
            )
            return measured

    async def _begin(self, session: LoadedSession, stack: AsyncExitStack) -> Completion:
        answer = await session.begin(stack)
        await _stream(session, answer, _WARM_UP, float("inf"), array("d"))
        return answer

    async def _streamed(self, answers: Sequence[Completion]) -> Round:
        waits = array("d")
        first, commits = self.copy.last_position(), self.log.writer_statistics.commits
        began = perf_counter()
        until = began + self.options.seconds
        streams = (
            _stream(session, answer, self.options.deltas, until, waits)
            for session, answer in zip(self.sessions, answers, strict=True)
        )
        await asyncio.gather(*streams)
        seconds = perf_counter() - began
        commits = self.log.writer_statistics.commits - commits
        return Round(len(waits), seconds, commits, (first, self.copy.last_position()), sorted(waits))


async def _stream(session: LoadedSession, answer: Completion, deltas: int, until: float, waits: array[float]) -> None:
    """Sends delta after delta; each wait for an acknowledgement goes into `waits`."""
    for _ in range(deltas):
        began = perf_counter()
        if began >= until:
            return
        await answer.text(session.workload.delta(session.number, session.sent))
        waits.append(perf_counter() - began)
        session.sent += 1


def _report(options: AppendOptions, repeats: list[dict[str, float]], outcome: dict[str, Any]) -> dict[str, Any]:
    events = round(sum(repeat.pop("events") for repeat in repeats))
    samples = {name: [repeat[name] for repeat in repeats] for name in repeats[0]}
    ours = samples["events_per_second"]
    samples["ratio_to_copy"] = ratios(ours, samples["copy_rows_per_second"])
    samples["ratio_to_plain"] = ratios(ours, samples["plain_events_per_second"])
    spreads = {name: Spread.of(values) for name, values in samples.items()}
    return {
        "benchmark": "append",
        "sessions": options.sessions,
        "repeats": options.repeat,
        "events": events,
        **{name: spread.median for name, spread in spreads.items()},
        **{f"{name}_min": spread.low for name, spread in spreads.items()},
        **{f"{name}_max": spread.high for name, spread in spreads.items()},
        **outcome,
    }
