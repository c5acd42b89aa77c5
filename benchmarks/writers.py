"""`writers`: one, two, four and eight processes that append to one database, each with a log of its own.

The streams are spread over the processes. In the last case all append messages to one session, and whoever finds
its position taken decides again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.children import Child, child
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.server import Ground
from benchmarks.sessions import MODEL
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.statements import EVENTS_TABLE

_MODULE = "benchmarks.writer_process"
_RATE, _REFUSED = "events/s", "given up for conflicts, appends/s"
_SAME = "one session for all"
_PROMISED = (1_000, 1, 8)
"""Streams, and the processes that they are spread over."""
# Every event is there, and each position of a session once.
_STORED = SQL("""
select count(*),
    (select bool_and(n = last) from (
        select count(*) as n, max(originator_version) as last from {events} group by originator_id) as session)
from {events}
""").format(events=Identifier(EVENTS_TABLE))


@dataclass(frozen=True, slots=True)
class WritersOptions:
    """All processes live through the whole run; a visit uses some of them."""

    processes: tuple[int, ...] = option((1, 2, 4, 8), "How many, a comma list.")
    sessions: tuple[int, ...] = option(
        (125, 1_000, 4_000), "Streams of all processes together, in sessions of their own, a comma list."
    )
    handlers: int = option(8, "Of all processes together, that append to one session.")
    seconds: float = option(2.0, "How long a visit takes.")
    repeat: int = option(5, "Visits to each.")


async def measure(options: WritersOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    url = ground.database("turnlog")
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(
            SessionLog.open(Settings.from_env({"DATABASE_URL": url, "REDIS_URL": "none"}))
        )
        shared = await log.start_session(MODEL)
        say(f"starting {max(options.processes)} processes")
        processes = [await stack.enter_async_context(child(_MODULE, url)) for _ in range(max(options.processes))]
        await asyncio.gather(*(each.answer() for each in processes))
        writers = _Writers(options, processes, str(shared.id))
        entries = [
            Entry(_case(streams), _system(count), partial(writers.visit, streams, count))
            for streams in (*options.sessions, None)
            for count in options.processes
        ]
        samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="writers",
        title="Streams in sessions of their own, and handlers of one session, in several processes",
        options=asdict(options),
        samples=samples,
        verified=_is_whole(url, writers.events + 1),
        checked="all that was acknowledged is stored, without a gap in any session",
        machine=machine_of(ground),
        ratios=_ratios(samples, options),
    )


class _Writers:
    def __init__(self, options: WritersOptions, processes: Sequence[Child], shared: str) -> None:
        self.events = 0
        """Acknowledged in all, in the time or not."""
        self._options = options
        self._processes = processes
        self._shared = shared

    async def visit(self, streams: int | None, count: int) -> Numbers:
        """The first `count` processes at once, with `streams` streams in all (None: handlers of one session)."""
        chosen = self._processes[:count]
        await asyncio.gather(*(each.tell(self._order(streams, count, number)) for number, each in enumerate(chosen)))
        began = perf_counter()
        await asyncio.gather(*(each.tell({}) for each in chosen))
        seconds = perf_counter() - began
        answers = await asyncio.gather(*(each.answer() for each in chosen))
        events = sum(answer["events"] for answer in answers)
        self.events += events + sum(answer["others"] for answer in answers)
        return {_RATE: events / seconds, _REFUSED: sum(answer["refused"] for answer in answers) / seconds}

    def _order(self, streams: int | None, count: int, number: int) -> dict[str, Any]:
        whole = self._options.handlers if streams is None else streams
        share = max(1, whole // count + (number < whole % count))
        one = {"sessions": 0, "handlers": share} if streams is None else {"sessions": share}
        return {**one, "session_id": self._shared, "seconds": self._options.seconds}


def _case(streams: int | None) -> str:
    return _SAME if streams is None else f"{streams:,} streams"


def _system(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


def _ratios(samples: Samples, options: WritersOptions) -> list[Ratio]:
    first, *others = sorted(options.processes)

    def ratio(what: str, streams: int | None, count: int, than: int | None, target: str | None = None) -> Ratio:
        of, to = Key(_case(streams), _system(count), _RATE), Key(_case(than), _system(first), _RATE)
        return samples.ratio(f"{what} against {_system(first)}", of, to, target)

    shared = [
        ratio(
            f"{_case(streams)}: {_system(count)}",
            streams,
            count,
            streams,
            "writers" if (streams, first, count) == _PROMISED else None,
        )
        for streams in (*options.sessions, None)
        for count in others
    ]
    grown = [
        ratio(f"{streams // count:,} streams each: {_system(count)}", streams, count, streams // count)
        for streams in options.sessions
        for count in others
        if first == 1 and streams // count in options.sessions and streams % count == 0
    ]
    return shared + grown


def _is_whole(url: str, expected: int) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute(_STORED).fetchone() == (expected, True)


WRITERS = Benchmark(
    "writers",
    "Append from one, two, four and eight processes.",
    WritersOptions,
    {"seconds": 1.0, "repeat": 2},
    measure,
    plots=(_RATE,),
)
