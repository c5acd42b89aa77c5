"""`pace`: many streams at the pace of a model, and what a delta costs: processor time of all sides, write-ahead log,
and how long until it is durable.

At such a pace each delta would pay for a commit of its own. turnlog lets a delta wait a little for those of other
streams (`commit_wait_ms`); beside it, in turn, is turnlog without any wait, and the pace alone: the same streams, whose
deltas go nowhere. That is what the benchmark itself takes. Where all of it is more than the machine can do, the streams
fall behind their pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from random import random
from time import perf_counter

from benchmarks.benchmark import STORED, Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.cpu import CpuClock
from benchmarks.measuring import percentile
from benchmarks.ours import settings_of
from benchmarks.server import Ground
from benchmarks.sessions import LoadedSession, all_there, start_sessions
from benchmarks.workload import Workload
from turnlog.infrastructure.log import SessionLog

_OURS, _AT_ONCE, _PACE_ALONE = "turnlog", "turnlog, no wait", "the pace alone"
_CPU, _P50, _P99 = "CPU a delta, us", "until durable, p50, ms", "until durable, p99, ms"
_WAL, _COMMIT, _RATE = "WAL bytes a delta", "deltas a commit", "deltas/s"
_PROMISED = 200
"""Streams."""

Send = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PaceOptions:
    """All streams of a visit belong to one process."""

    streams: tuple[int, ...] = option((1, 20, 200, 1_000, 5_000), "How many at once, a comma list.")
    pace: float = option(30.0, "Deltas/s of each.")
    seconds: float = option(4.0, "How long a visit takes.")
    repeat: int = option(3, "Visits to each.")


async def measure(options: PaceOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    paced = _Paced(options, ground)
    visits: dict[str, Callable[[int], Awaitable[Numbers]]] = {
        _OURS: partial(paced.ours, True),
        _AT_ONCE: partial(paced.ours, False),
        _PACE_ALONE: paced.alone,
    }
    entries = [
        Entry(_case(streams), system, partial(visit, streams))
        for streams in options.streams
        for system, visit in visits.items()
    ]
    samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="pace",
        title=f"Streams of {options.pace:g} deltas/s, each delta acknowledged",
        options=asdict(options),
        samples=samples,
        verified=paced.all_there,
        checked=STORED,
        machine=machine_of(ground),
        ratios=_ratios(samples, options.streams),
        notes=["the CPU is that of the process with the streams, of Postgres and of Redis together"],
    )


class _Paced:
    def __init__(self, options: PaceOptions, ground: Ground) -> None:
        self.all_there = True
        self._options = options
        self._ground = ground
        self._workload = Workload()
        self._visits = 0

    async def ours(self, waits: bool, streams: int) -> Numbers:
        """A database and a log of its own for each visit."""
        self._visits += 1
        url = self._ground.database(f"visit {self._visits}")
        settings = settings_of(url, self._ground)
        if not waits:
            settings = settings.model_copy(update={"commit_wait_ms": 0.0})
        async with SessionLog.open(settings) as log:
            sessions = await start_sessions(log, streams, self._workload)
            async with AsyncExitStack() as stack:
                answers = await asyncio.gather(*(session.begin(stack) for session in sessions))
                numbers = await self._counted(log, [answer.text for answer in answers], sessions)
                await asyncio.gather(*map(LoadedSession.finish, sessions, answers))
            self.all_there &= await all_there(url, sessions)
        return numbers

    async def _counted(self, log: SessionLog, sends: Sequence[Send], sessions: Sequence[LoadedSession]) -> Numbers:
        events, commits = log.writer_statistics.events, log.writer_statistics.commits
        wal = self._ground.wal_bytes()
        numbers, counts = await self._measured(sends)
        wal = self._ground.wal_bytes() - wal
        for session, count in zip(sessions, counts, strict=True):
            session.sent += count
        events, commits = log.writer_statistics.events - events, log.writer_statistics.commits - commits
        return {**numbers, _WAL: wal / sum(counts), _COMMIT: events / commits}

    async def alone(self, streams: int) -> Numbers:
        """Nothing is done with the deltas."""
        numbers, _ = await self._measured([_nothing] * streams)
        return numbers

    async def _measured(self, sends: Sequence[Send]) -> tuple[Numbers, Sequence[int]]:
        """All streams at once, and how many deltas each of them has sent."""
        waits = list[float]()
        before, began = CpuClock.read(self._ground), perf_counter()
        counts = await asyncio.gather(*(self._stream(number, send, began, waits) for number, send in enumerate(sends)))
        seconds, cpu = perf_counter() - began, CpuClock.read(self._ground).since(before)
        deltas = len(waits)
        waits.sort()
        by_side = {f"CPU a delta of {side}, us": taken / deltas * 1e6 for side, taken in cpu.items()}
        return {
            _CPU: sum(cpu.values()) / deltas * 1e6,
            **by_side,
            _P50: percentile(waits, 50) * 1e3,
            _P99: percentile(waits, 99) * 1e3,
            _RATE: deltas / seconds,
        }, counts

    async def _stream(self, number: int, send: Send, began: float, waits: list[float]) -> int:
        """Begins somewhere within the first interval, so that the streams are not in step."""
        pace, sent = self._options.pace, 0
        began += random() / pace
        for sent in range(1, round(self._options.seconds * pace) + 1):
            due = began + sent / pace
            await asyncio.sleep(max(0.0, due - perf_counter()))
            called = perf_counter()
            if called > began + 2 * self._options.seconds:
                return sent - 1
            await send(self._workload.delta(number, sent - 1))
            waits.append(perf_counter() - called)
        return sent


async def _nothing(_: str) -> None:
    """Takes a delta, and does nothing."""


def _case(streams: int) -> str:
    return f"{streams:,} stream{'s' if streams > 1 else ''}"


def _ratios(samples: Samples, streams: Sequence[int]) -> list[Ratio]:
    return [
        samples.ratio(
            f"{_case(count)}: with a wait against without, {quantity}",
            Key(_case(count), _OURS, quantity),
            Key(_case(count), _AT_ONCE, quantity),
            "pace" if (count, quantity) == (_PROMISED, _CPU) else None,
        )
        for count in streams
        for quantity in (_CPU, _WAL, _P50, _P99)
    ]


PACE = Benchmark(
    "pace",
    "Append at the pace of a model, from one stream to thousands.",
    PaceOptions,
    {"streams": (1, 200), "seconds": 2.0, "repeat": 2},
    measure,
    plots=(_CPU, _P50),
)
