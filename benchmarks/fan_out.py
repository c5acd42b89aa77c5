"""`fan_out`: followers of many sessions in one process, and spread over several, and what following costs all of them.

One process writes at the pace of a model, and others follow, each session once. The CPU is that of the writer, of the
followers, of Postgres and of Redis together; beside it stands the writer whom nobody follows. How long a delta takes is
from the moment at which it was handed over until its follower has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any

from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.children import Child, child
from benchmarks.contest import Entry, Key, Numbers, Say, interleaved
from benchmarks.cpu import CpuClock
from benchmarks.measuring import percentile
from benchmarks.ours import settings_of
from benchmarks.server import Ground
from benchmarks.sessions import LoadedSession, start_sessions
from benchmarks.workload import Workload
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog

_MODULE = "benchmarks.follower_process"
_CPU, _P50, _P99 = "CPU a delta, us", "until a follower has it, p50, ms", "until a follower has it, p99, ms"


@dataclass(frozen=True, slots=True)
class FanOutOptions:
    """All follower processes live through the whole run; a visit uses some of them, or none."""

    processes: tuple[int, ...] = option((1, 10), "Over how many the followers are spread, a comma list.")
    sessions: int = option(1_000, "Sessions, and followers: each session has one.")
    pace: float = option(3.0, "Deltas/s of each session.")
    seconds: float = option(5.0, "How long a visit takes.")
    repeat: int = option(3, "Visits to each.")


async def measure(options: FanOutOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    url = ground.database("turnlog")
    settings = settings_of(url, ground)
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(SessionLog.open(settings))
        say(f"starting {max(options.processes)} processes")
        job = settings.model_dump_json()
        children = [await stack.enter_async_context(child(_MODULE, job)) for _ in range(max(options.processes))]
        await asyncio.gather(*(each.answer() for each in children))
        fan_out = _FanOut(options, ground, log, children)
        entries = [
            Entry(_case(options), _system(count), partial(fan_out.visit, count)) for count in (0, *options.processes)
        ]
        samples = await interleaved(entries, options.repeat, say)
    few, many = min(options.processes), max(options.processes)
    return Report(
        benchmark="fan_out",
        title="Followers in one process and in several",
        options=asdict(options),
        samples=samples,
        verified=fan_out.all_there,
        checked="every follower got every delta once, in order",
        machine=machine_of(ground),
        ratios=[
            samples.ratio(
                f"{_system(many)} against {_system(few)}, {quantity}",
                Key(_case(options), _system(many), quantity),
                Key(_case(options), _system(few), quantity),
                "fan_out" if quantity == _CPU else None,
            )
            for quantity in (_CPU, _P99)
        ],
    )


class _FanOut:
    def __init__(self, options: FanOutOptions, ground: Ground, log: SessionLog, children: Sequence[Child]) -> None:
        self.all_there = True
        self._options = options
        self._ground = ground
        self._log = log
        self._children = children
        self._workload = Workload()

    async def visit(self, count: int) -> Numbers:
        """New sessions, followed by the first `count` processes."""
        chosen = self._children[:count]
        sessions = await start_sessions(self._log, self._options.sessions, self._workload)
        async with AsyncExitStack() as stack:
            answers = await asyncio.gather(*(session.begin(stack) for session in sessions))
            ids = [str(session.session.id) for session in sessions]
            await asyncio.gather(*(each.tell({"follow": ids[n::count]}) for n, each in enumerate(chosen)))
            before = CpuClock.read(self._ground)
            deltas = await self._written(sessions, answers)
            done = await asyncio.gather(*(each.tell({"deltas": deltas}) for each in chosen))
            cpu = CpuClock.read(self._ground).since(before)
            await asyncio.gather(*map(LoadedSession.finish, sessions, answers))
        await asyncio.gather(*(each.tell({"end": True}) for each in chosen))
        return self._numbers(deltas, {**cpu, "followers": sum(each["cpu"] for each in done)}, done)

    def _numbers(self, deltas: int, cpu: dict[str, float], done: Sequence[dict[str, Any]]) -> Numbers:
        all_deltas = deltas * self._options.sessions
        if done:
            self.all_there &= all(each["is_whole"] for each in done)
        cpu["writer"] = cpu.pop("client")
        waits = sorted(wait for each in done for wait in each["waits"])
        return {
            _CPU: sum(cpu.values()) / all_deltas * 1e6,
            **{f"CPU a delta of {side}, us": seconds / all_deltas * 1e6 for side, seconds in cpu.items()},
            **({_P50: percentile(waits, 50) * 1e3, _P99: percentile(waits, 99) * 1e3} if waits else {}),
        }

    async def _written(self, sessions: Sequence[LoadedSession], answers: Sequence[Completion]) -> int:
        """How many deltas each session got."""
        deltas = max(1, round(self._options.seconds * self._options.pace))
        began = perf_counter()

        async def write(number: int, session: LoadedSession, answer: Completion) -> None:
            for delta in range(deltas):
                due = began + (delta + number / len(sessions)) / self._options.pace
                await asyncio.sleep(max(0.0, due - perf_counter()))
                await answer.text(session.workload.delta(session.number, session.sent))
                session.sent += 1

        await asyncio.gather(*(write(n, *each) for n, each in enumerate(zip(sessions, answers, strict=True))))
        return deltas


def _case(options: FanOutOptions) -> str:
    return f"{options.sessions:,} sessions"


def _system(count: int) -> str:
    return "nobody follows" if count == 0 else f"followers in {count} process{'es' if count > 1 else ''}"


FAN_OUT = Benchmark(
    "fan_out",
    "Follow many sessions from one process and from several.",
    FanOutOptions,
    {"sessions": 200, "seconds": 2.0, "repeat": 2},
    measure,
    plots=(_CPU,),
)
