"""`processes`: many processes that share one Postgres, each with a log of its own and some streams, and how many
connections all of them take.

They open their logs in the same moment, and stream at the pace of a model. The server takes as many connections as its
`max_connections` says, 100 unless it was changed. Each visit ends only when all processes have stored all that they
had, or have failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any

import psycopg

from benchmarks.benchmark import Benchmark, Report, Verdict, machine_of, option
from benchmarks.children import Child, child
from benchmarks.contest import Entry, Key, Numbers, Say, interleaved
from benchmarks.measuring import percentile
from benchmarks.ours import settings_of
from benchmarks.server import Ground

_MODULE = "benchmarks.stream_process"
_WORKED, _MOST, _MEAN = "processes that worked", "connections, at most", "connections, in the middle"
_P50, _P99 = "until durable, p50, ms", "until durable, p99, ms"
_RATE, _CPU = "deltas/s", "client CPU a delta, us"
_THERE = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ProcessesOptions:
    """The processes of a visit begin anew on each."""

    processes: tuple[int, ...] = option((1, 10, 50), "How many at once, a comma list.")
    streams: int = option(20, "Streams of each process.")
    pace: float = option(3.0, "Deltas/s of each stream.")
    seconds: float = option(10.0, "How long they stream.")
    repeat: int = option(1, "Visits to each.")


async def measure(options: ProcessesOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    visits = _Visits(options, ground)
    entries = [Entry(_case(options), _system(count), partial(visits.visit, count)) for count in options.processes]
    async with child(_MODULE, visits.job) as visits.nursery:
        await visits.nursery.answer()
        samples = await interleaved(entries, options.repeat, say)
    few, many = min(options.processes), max(options.processes)
    return Report(
        benchmark="processes",
        title=f"Processes with {options.streams} streams each on one Postgres",
        options=asdict(options),
        samples=samples,
        verified=visits.all_there,
        checked="all that was acknowledged is stored",
        machine=machine_of(ground),
        ratios=[
            samples.ratio(
                f"{_system(many)} against {_system(few)}, client CPU a delta",
                Key(_case(options), _system(many), _CPU),
                Key(_case(options), _system(few), _CPU),
            )
        ],
        verdicts=[
            Verdict(not visits.errors, "all processes worked" if not visits.errors else "; ".join(visits.errors[:3]))
        ],
        notes=["max_connections of the server: " + visits.limit],
    )


class _Visits:
    nursery: Child

    def __init__(self, options: ProcessesOptions, ground: Ground) -> None:
        self.all_there = True
        self.errors = list[str]()
        self._options = options
        self._url = ground.database("turnlog")
        self.job = settings_of(self._url, ground).model_dump_json()
        with psycopg.connect(self._url) as connection:
            row = connection.execute("show max_connections").fetchone()
        self.limit = str(row[0]) if row else ""
        self._stored = 0

    async def visit(self, count: int) -> Numbers:
        """New processes, all at once."""
        order = {name: getattr(self._options, name) for name in ("streams", "pace", "seconds")}
        looking, began = asyncio.create_task(self._connections()), perf_counter()
        answers = (await self.nursery.tell({**order, "processes": count}))["answers"]
        seconds = perf_counter() - began
        looking.cancel()
        seen = await looking
        return self._numbers(answers, seen, seconds)

    def _numbers(self, answers: Sequence[dict[str, Any]], seen: list[int], seconds: float) -> Numbers:
        self.errors += [answer["error"] for answer in answers if "error" in answer]
        self._stored += sum(answer["events"] for answer in answers)
        with psycopg.connect(self._url) as connection:
            row = connection.execute("select count(*) from turnlog_events").fetchone()
        self.all_there &= row is not None and (row[0] == self._stored or bool(self.errors))
        waits = sorted(wait for answer in answers for wait in answer["waits"])
        seen.sort()
        return {
            _WORKED: sum("error" not in answer for answer in answers),
            _MOST: seen[-1],
            _MEAN: percentile(seen, 50),
            _P50: percentile(waits, 50) * 1e3,
            _P99: percentile(waits, 99) * 1e3,
            _RATE: len(waits) / seconds,
            _CPU: sum(answer["cpu"] for answer in answers) / max(1, len(waits)) * 1e6,
        }

    async def _connections(self) -> list[int]:
        """How many there are, from time to time, until it is cancelled."""
        seen = [0]
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            try:
                while True:
                    row = await (await connection.execute(_THERE)).fetchone()
                    seen.append(int(row[0]) if row else 0)
                    await asyncio.sleep(_LOOK_SECONDS)
            except asyncio.CancelledError:
                return seen


def _case(options: ProcessesOptions) -> str:
    return f"{options.streams} streams each"


def _system(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


PROCESSES = Benchmark(
    "processes",
    "Share one Postgres between many processes.",
    ProcessesOptions,
    {"processes": (1, 10), "seconds": 2.0},
    measure,
    plots=(_MOST,),
)
