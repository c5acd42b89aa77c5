"""`bench memory`: whether this process stays as small as it was, however many deltas it appends.

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

from turnlog.infrastructure.bench.measuring import machine, resident_bytes
from turnlog.infrastructure.bench.report import Progress
from turnlog.infrastructure.bench.server import fresh_database
from turnlog.infrastructure.bench.sessions import LoadedSession, all_there, start_sessions
from turnlog.infrastructure.bench.workload import Workload
from turnlog.infrastructure.completion import Completion
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
    """`at_once`: how many deltas a session has on their way. `slow_ms`: by how much each commit is held up."""

    deltas: int
    sessions: int
    every: int
    at_once: int
    slow_ms: float
    database_url: str | None


@dataclass(frozen=True, slots=True)
class Sample:
    """The process when so many deltas were acknowledged."""

    deltas: int
    rss_mb: float
    seconds: float


class Meter:
    """Counts acknowledged deltas and weighs the process every so many."""

    def __init__(self, every: int, say: Progress) -> None:
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


async def measure_memory(options: MemoryOptions, say: Progress) -> dict[str, Any]:
    """Runs the benchmark and returns the report."""
    async with AsyncExitStack() as stack:
        url = stack.enter_context(fresh_database(options.database_url))
        log = await stack.enter_async_context(SessionLog.open(Settings(database_url=url, redis_url="none")))
        if options.slow_ms:
            _slow_down(url, options.slow_ms)
        sessions = await start_sessions(log, options.sessions, Workload())
        meter = Meter(options.every, say)
        await _appended(options, sessions, meter)
        say("verifying")
        verified = await all_there(url, sessions)
        return {
            "benchmark": "memory",
            "deltas": options.deltas,
            "sessions": options.sessions,
            "at_once": options.at_once,
            "slow_ms": options.slow_ms,
            **verdict(meter.samples),
            "verified": verified,
            "machine": machine((await log.inspect())["postgres"]),
        }


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
