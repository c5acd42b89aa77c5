"""`memory`: whether this process stays as small as it was, however many deltas it appends.

With a slow database it shows that the queue is bounded: a trigger makes each commit wait, the sessions send many
deltas at once, and those that find the queue full wait their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from benchmarks.benchmark import STORED, Benchmark, Report, Verdict, machine_of, option
from benchmarks.contest import Samples, Say
from benchmarks.measuring import resident_bytes
from benchmarks.server import Ground
from benchmarks.sessions import LoadedSession, all_there, start_sessions
from benchmarks.workload import Workload
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.statements import EVENTS_TABLE

_STEP_DELTAS = 2_000
_MEGABYTE = 1024 * 1024
_ALLOWED_SHARE, _ALLOWED_MB = 0.10, 5.0  # what an allocator does of its own accord

_SLOW = SQL("""
create function bench_slow() returns trigger language plpgsql as $$ begin perform pg_sleep({}); return null; end $$;
create trigger bench_slow after insert on {} for each statement execute function bench_slow()
""")


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """A slow database is made by a trigger."""

    deltas: int = option(1_000_000, "Deltas in all.")
    sessions: int = option(100, "Concurrent sessions.")
    every: int = option(100_000, "Weigh the process so often.")
    at_once: int = option(1, "Deltas a session has on their way.")
    slow_ms: float = option(0.0, "Hold each commit up by so much.", zero=True)


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at the time when `deltas` were acknowledged."""

    deltas: int
    rss_mb: float
    seconds: float


class Meter:
    """Counts acknowledged deltas and weighs the process at regular counts of them."""

    def __init__(self, every: int, say: Say) -> None:
        self.samples: list[Sample] = []
        self._every = every
        self._say = say
        self._deltas = 0
        self._began = perf_counter()

    def count(self) -> None:
        """One more."""
        self._deltas += 1
        if self._deltas % self._every == 0:
            sample = Sample(self._deltas, resident_bytes() / _MEGABYTE, perf_counter() - self._began)
            self.samples.append(sample)
            self._say(f"{sample.deltas} deltas: {sample.rss_mb:.1f} MB after {sample.seconds:.0f} s")


async def measure(options: MemoryOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    url = ground.database("turnlog")
    async with SessionLog.open(Settings.from_env({"DATABASE_URL": url, "REDIS_URL": "none"})) as log:
        if options.slow_ms:
            _slow_down(url, options.slow_ms)
        sessions = await start_sessions(log, options.sessions, Workload())
        meter = Meter(options.every, say)
        await _appended(options, sessions, meter)
        say("verifying")
        found = verdict(meter.samples)
        return Report(
            benchmark="memory",
            title=f"{options.deltas:,} deltas of {options.sessions} sessions, and the memory of the process",
            options=asdict(options),
            samples=weighed(meter.samples),
            verified=await all_there(url, sessions),
            checked=STORED,
            machine=machine_of(ground),
            verdicts=[flatness(found)],
            more={**asdict(options), **found},
        )


def weighed(samples: Sequence[Sample]) -> Samples:
    """As a report has them."""
    series = Samples()
    for sample in samples:
        series.add(f"after {sample.deltas:,}", "this process", {"RSS, MB": sample.rss_mb, "after, s": sample.seconds})
    return series


def flatness(found: dict[str, Any]) -> Verdict:
    """In words."""
    growth = f"{found['growth_mb']:+.1f} MB from the second sample to the last"
    return Verdict(found["flat"], f"flat: {growth}" if found["flat"] else f"NOT FLAT: {growth}")


def _slow_down(url: str, milliseconds: float) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_SLOW.format(Literal(milliseconds / 1e3), Identifier(EVENTS_TABLE)), prepare=False)


async def _appended(options: MemoryOptions, sessions: Sequence[LoadedSession], meter: Meter) -> None:
    share, rest = divmod(options.deltas, len(sessions))
    deltas = (share + (session.number < rest) for session in sessions)
    await asyncio.gather(*(_converse(*each, options.at_once, meter) for each in zip(sessions, deltas, strict=True)))


async def _converse(session: LoadedSession, deltas: int, at_once: int, meter: Meter) -> None:
    """Turn after turn, as real sessions do."""
    for first in range(0, deltas, _STEP_DELTAS):
        async with AsyncExitStack() as stack:
            answer = await session.begin(stack)
            await _stream(session, answer, min(_STEP_DELTAS, deltas - first), at_once, meter)
            await session.finish(answer)


async def _stream(session: LoadedSession, answer: Completion, deltas: int, at_once: int, meter: Meter) -> None:
    async def send(text: str) -> None:
        await answer.text(text)
        meter.count()

    for first in range(0, deltas, at_once):
        texts = session.next_deltas(min(at_once, deltas - first))
        await asyncio.gather(*map(send, texts))
        session.sent += len(texts)


def verdict(samples: Sequence[Sample]) -> dict[str, Any]:
    """Flat or not, from the second sample on: the first still fills caches and pools."""
    base, last = samples[min(1, len(samples) - 1)], samples[-1]
    growth = last.rss_mb - base.rss_mb
    return {
        "samples": [asdict(sample) for sample in samples],
        "events_per_second": last.deltas / last.seconds,
        "growth_mb": growth,
        "flat": growth < base.rss_mb * _ALLOWED_SHARE + _ALLOWED_MB,
    }


MEMORY = Benchmark(
    "memory",
    "Append a million deltas, and weigh this process.",
    MemoryOptions,
    {"deltas": 100_000, "every": 20_000},
    measure,
)
