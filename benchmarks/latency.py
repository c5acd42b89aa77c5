"""`latency`: one stream at the pace of a model, while other sessions of the process keep the log busy.

How long until a delta is durable? Beside it, in turn and under the same load: a bare INSERT and COMMIT, on a
connection of its own, at the same pace from the same event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any
from uuid import uuid4

from benchmarks.benchmark import STORED, Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Say, interleaved
from benchmarks.floors import BareInsert
from benchmarks.measuring import percentile
from benchmarks.server import Ground
from benchmarks.sessions import LoadedSession, all_there, start_sessions
from benchmarks.workload import Workload
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings

_OURS, _BARE = "turnlog", "bare INSERT and COMMIT"
_P50, _P99 = "until durable, p50, ms", "until durable, p99, ms"
_LOAD = "background, events/s"
_TICK_SECONDS = 0.0025
_STEP_DELTAS = 2_000

Send = Callable[[str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class LatencyOptions:
    """The background's sessions send in groups, one after the other, a group every 2.5 ms."""

    pace: float = option(60.0, "Deltas/s of the stream that is watched.")
    load: int = option(20_000, "Events/s of all other sessions together.")
    sessions: int = option(500, "How many other sessions there are.")
    seconds: float = option(6.0, "How long a visit takes.")
    repeat: int = option(5, "Visits to each of the two.")


async def measure(options: LatencyOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    url = ground.database(_OURS)
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(
            SessionLog.open(Settings.from_env({"DATABASE_URL": url, "REDIS_URL": "none"}))
        )
        watched, *others = await start_sessions(log, options.sessions + 1, Workload())
        bare = await stack.enter_async_context(_bare(ground))
        load = _Background(options, others)
        visits = _Visits(options, watched, load, bare)
        case = f"beside {options.load:,} events/s"
        entries = [Entry(case, _OURS, visits.ours), Entry(case, _BARE, visits.bare)]
        await stack.enter_async_context(load.running())
        samples = await interleaved(entries, options.repeat, say)
        await load.stop()
        keys = [(Key(case, _OURS, quantity), Key(case, _BARE, quantity)) for quantity in (_P99, _P50)]
        return Report(
            benchmark="latency",
            title=f"One stream of {options.pace:g} deltas/s beside {options.sessions} busy sessions of the process",
            options=asdict(options),
            samples=samples,
            verified=await all_there(url, [watched, *others]),
            checked=STORED,
            machine=machine_of(ground),
            ratios=[
                samples.ratio("p99 of turnlog against that of a bare INSERT", *keys[0], "latency"),
                samples.ratio("p50 of turnlog against that of a bare INSERT", *keys[1]),
            ],
        )


@asynccontextmanager
async def _bare(ground: Ground) -> AsyncIterator[Send]:
    """Sends a delta as one INSERT in its own transaction."""
    system = BareInsert(ground)
    await system.start()
    try:
        conversation = system.conversation(uuid4())
        yield conversation.put_delta
    finally:
        await system.stop()


@dataclass(slots=True)
class _Visits:
    options: LatencyOptions
    watched: LoadedSession
    load: _Background
    send_bare: Send

    async def ours(self) -> Numbers:
        """An answer of turnlog's."""
        async with AsyncExitStack() as stack:
            answer = await self.watched.begin(stack)
            numbers = await self._paced(answer.text)
            await self.watched.finish(answer)
        return numbers

    async def bare(self) -> Numbers:
        """The same without turnlog."""
        sent = self.watched.sent
        numbers = await self._paced(self.send_bare)
        self.watched.sent = sent
        return numbers

    async def _paced(self, send: Send) -> Numbers:
        waits, load = list[float](), self.load.sent
        began = perf_counter()
        for number in range(round(self.options.seconds * self.options.pace)):
            await asyncio.sleep(max(0.0, began + number / self.options.pace - perf_counter()))
            sent = perf_counter()
            await send(self.watched.workload.delta(self.watched.number, self.watched.sent))
            waits.append(perf_counter() - sent)
            self.watched.sent += 1
        rate = (self.load.sent - load) / (perf_counter() - began)
        waits.sort()
        return {_P50: percentile(waits, 50) * 1e3, _P99: percentile(waits, 99) * 1e3, _LOAD: rate}


class _Background:
    """Sessions that send a delta each time it is their group's turn, and wait until it is durable."""

    def __init__(self, options: LatencyOptions, sessions: Sequence[LoadedSession]) -> None:
        self.sent = 0
        self._sessions = sessions
        self._size = max(1, round(options.load * _TICK_SECONDS))
        self._groups = -(-len(sessions) // self._size)
        self._turns: list[asyncio.Future[None]] = []
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs while the block does."""
        loop = asyncio.get_running_loop()
        self._turns = [loop.create_future() for _ in range(self._groups)]
        self._tasks = [asyncio.create_task(self._speak(session)) for session in self._sessions]
        self._tasks.append(asyncio.create_task(self._conduct()))
        try:
            yield
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Ends all answers; what fails raises."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _conduct(self) -> None:
        """Calls group after group. A session that is still waiting for its last delta misses its turn."""
        began, turn, loop = perf_counter(), 0, asyncio.get_running_loop()
        while not self._stopping:
            group = turn % self._groups
            called, self._turns[group] = self._turns[group], loop.create_future()
            called.set_result(None)
            turn += 1
            await asyncio.sleep(max(0.0, began + turn * _TICK_SECONDS - perf_counter()))
        for called in self._turns:
            called.set_result(None)

    async def _speak(self, session: LoadedSession) -> None:
        group = session.number % self._groups
        while not self._stopping:
            async with AsyncExitStack() as stack:
                answer = await session.begin(stack)
                await self._answer(session, answer, group)
                await session.finish(answer)

    async def _answer(self, session: LoadedSession, answer: Completion, group: int) -> None:
        for _ in range(_STEP_DELTAS):
            await self._turns[group]
            if self._stopping:
                return
            await answer.text(session.workload.delta(session.number, session.sent))
            session.sent += 1
            self.sent += 1


LATENCY = Benchmark(
    "latency",
    "Watch one paced stream beside 20,000 events/s.",
    LatencyOptions,
    {"seconds": 2.0, "repeat": 2},
    measure,
    plots=(_P50, _P99),
)
