"""`long_session`: what a session of 100,000 turns costs against a short one: counted (rows read, bytes), and in
processor time of this process.

The long session is written by COPY, so nothing of it is kept at first. Then somebody reads its end for the first time:
that folds it, in pieces, and is listed by itself, with the memory that it takes and the longest time for which the
event loop stood still. After that each thing is done in a process that has just begun, and knows nothing of the session
(`open and say`), or that has used it before. The short session is their limit. It is so long that it fills the window
and the page, too.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from uuid import UUID, uuid4

from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.counters import Counters, counted
from benchmarks.long_log import answer, write_long_session
from benchmarks.measuring import resident_bytes
from benchmarks.ours import USER, Forgetful, Turnlog
from benchmarks.server import Ground
from benchmarks.systems import System, running
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session

_SYSTEM = "turnlog"
_CPU, _STILL, _MB = "CPU, ms", "the loop stands still, ms", "memory, MB"
_COUNTED = ("rows read", "bytes from Postgres", "bytes to Redis", "bytes from Redis")
_NOISE_BYTES = 2_048
"""Bytes that are nothing beside what a call costs, and that no ratio is taken of."""
_PROMISED = (25, 100_000)

Work = Callable[[Session], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LongSessionOptions:
    """Each call is made several times on each visit, so that the sessions grow by some turns."""

    turns: tuple[int, ...] = option((25, 100_000), "Turns of the short and the long session.")
    deltas: int = option(5, "Deltas an answer.")
    max_tokens: int = option(4_000, "Of the window.")
    times: int = option(5, "Calls on each visit.")
    repeat: int = option(5, "Visits to each.")


async def measure(options: LongSessionOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    long_session = _LongSession(options, ground, say)
    await long_session.write()
    entries = [
        Entry(f"{what}, turn {turns:,}", _SYSTEM, partial(long_session.visit, what, turns))
        for what in long_session.calls
        for turns in options.turns
    ]
    samples = await interleaved(entries, options.repeat, say)
    for case, numbers in long_session.firsts.items():
        samples.add(case, _SYSTEM, numbers)
    return Report(
        benchmark="long_session",
        title="What a very long session costs",
        options=asdict(options),
        samples=samples,
        verified=await long_session.is_there(),
        checked="the sessions have all turns, in their order, and the last ones as they were recorded",
        machine=machine_of(ground),
        ratios=_ratios(samples, list(long_session.calls), options.turns),
        notes=["a ratio of bytes is that of what is more than the usual 2 kB"],
    )


class _LongSession:
    def __init__(self, options: LongSessionOptions, ground: Ground, say: Say) -> None:
        self._options, self._ground, self._say = options, ground, say
        self._sessions = dict[int, UUID]()
        self.firsts = dict[str, Numbers]()
        self.calls: dict[str, Work] = {
            "open and say": _say,
            "say": _say,
            "record": self._record,
            "window": self._window,
            "live page": _live_page,
            "turns(limit=20)": _turns,
        }

    async def write(self) -> None:
        """Writes the sessions, and reads each for the first time."""
        async with running(Turnlog, self._ground):
            pass  # makes the schema
        for turns in self._options.turns:
            self._say(f"{turns:,} turns")
            self._sessions[turns] = session_id = uuid4()
            url, deltas = self._ground.database(_SYSTEM), self._options.deltas
            await asyncio.to_thread(write_long_session, url, session_id, USER, turns, deltas=deltas)
            for what, first in (("open and say", _say), ("the end", self._window), ("the whole view", _view)):
                self._say(f"{what}, for the first time")
                async with self._session(Forgetful, turns) as session, _weighed() as numbers:
                    await first(session)
                self.firsts[f"{what}, for the first time, {turns:,} turns"] = numbers

    async def visit(self, what: str, turns: int) -> Numbers:
        """Some calls are counted, through a proxy; some more are weighed, without it."""
        work, times = self.calls[what], self._options.times
        counters = Counters(self._ground, _SYSTEM)
        if what == "open and say":
            nothing, some = await counters.of(Forgetful, _idle), await counters.of(Forgetful, self._on(turns, work, 1))
            async with _weighed() as numbers, self._session(Forgetful, turns) as session:
                await work(session)
            return {**counted(nothing, some, 1), **numbers}
        async with self._session(Turnlog, turns) as session:
            await work(session)  # reads what was left by what was visited before
        once = await counters.of(Turnlog, self._on(turns, work, 1))
        more = await counters.of(Turnlog, self._on(turns, work, 1 + times))
        async with self._session(Turnlog, turns) as session:
            await work(session)
            async with _weighed() as numbers:
                for _ in range(times):
                    await work(session)
        return {**counted(once, more, times), **numbers, _CPU: numbers[_CPU] / times}

    def _on(self, turns: int, work: Work, times: int) -> Callable[[System], Awaitable[None]]:
        async def on(system: System) -> None:
            assert isinstance(system, Turnlog)  # noqa: S101 for the type checker
            session = system.log.session(self._sessions[turns], USER)
            for _ in range(times):
                await work(session)
            await _settled(system.log)

        return on

    @asynccontextmanager
    async def _session(self, kind: type[Turnlog], turns: int) -> AsyncIterator[Session]:
        async with running(kind, self._ground) as system:
            assert isinstance(system, Turnlog)  # noqa: S101 for the type checker
            yield system.log.session(self._sessions[turns], USER)
            await _settled(system.log)

    async def _record(self, session: Session) -> None:
        async with session.completion("bench") as completion:
            for text in answer(0, self._options.deltas):
                await completion.text(text)
            await completion.finish()

    async def _window(self, session: Session) -> None:
        await session.say("And now?")  # else there is nothing new to read
        await session.prompt(max_tokens=self._options.max_tokens)

    async def is_there(self) -> bool:
        """Whether the turns of all sessions are there, page by page."""
        right = True
        for turns in self._options.turns:
            async with self._session(Turnlog, turns) as session:
                before, seen = None, list[int]()
                while page := await session.turns(before, 1_000):
                    seen[:0] = [turn.index for turn in page]
                    before = page[0].index
                right = right and seen == list(range(len(seen))) and len(seen) >= turns
                step = (await session.turns(1, 1))[0].steps[0]
                right = right and step.message.content == "".join(answer(0, self._options.deltas))
        return right


async def _idle(_: System) -> None:
    """Opening and closing cost something too: that is subtracted."""


async def _say(session: Session) -> None:
    await session.say("Go on.")


async def _view(session: Session) -> None:
    await session.view()


async def _turns(session: Session) -> None:
    await session.turns(limit=20)


async def _live_page(session: Session) -> None:
    async with session.live(limit=20):
        pass


async def _settled(log: SessionLog) -> None:
    """What is kept in the background belongs to the cost."""
    await log._parts.background.close()  # noqa: SLF001 there is no other way to wait for it


@asynccontextmanager
async def _weighed() -> AsyncIterator[dict[str, float]]:
    """What the block takes of this process: processor time, the memory at most beyond what it had, and the longest time
    for which the loop did nothing else."""
    numbers = dict[str, float]()
    gc.collect()
    before, longest, peak = resident_bytes(), 0.0, resident_bytes()
    is_over = threading.Event()

    async def tick() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - began)

    def weigh() -> None:
        nonlocal peak
        while not is_over.wait(0.02):
            peak = max(peak, resident_bytes())

    ticking, weighing = asyncio.create_task(tick()), threading.Thread(target=weigh, daemon=True)
    weighing.start()
    cpu = time.process_time()
    try:
        yield numbers
    finally:
        numbers[_CPU] = (time.process_time() - cpu) * 1e3
        is_over.set()
        weighing.join()
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        numbers[_STILL], numbers[_MB] = longest * 1e3, (max(peak, resident_bytes()) - before) / 2**20


def _ratios(samples: Samples, calls: list[str], turns: tuple[int, ...]) -> list[Ratio]:
    """The longest against the shortest, call by call; and the worst of them."""
    first, last = min(turns), max(turns)
    target = "long-session" if (first, last) == _PROMISED else None
    ratios, worst = list[Ratio](), list[list[float]]()
    for what in calls:
        for quantity in (*_COUNTED, _CPU):
            long, short = (samples.by_key[Key(f"{what}, turn {each:,}", _SYSTEM, quantity)] for each in (last, first))
            noise = _NOISE_BYTES if "bytes" in quantity else 0.0
            found = [(each + noise) / (other + noise) for each, other in zip(long, short, strict=True) if other + noise]
            if found:
                ratios.append(Ratio(f"{what}: turn {last:,} against turn {first:,}, {quantity}", found))
                worst.append(found)
    medians = sorted(worst, key=lambda each: sorted(each)[len(each) // 2])
    return [Ratio(f"turn {last:,} against turn {first:,}, the worst of these", medians[-1], target), *ratios]


LONG_SESSION = Benchmark(
    "long_session",
    "Count what a session of 100,000 turns costs against a short one.",
    LongSessionOptions,
    {"turns": (25, 3_000), "times": 3, "repeat": 2},
    measure,
    plots=(_CPU, "rows read"),
)
