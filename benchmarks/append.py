"""`append`: many sessions, each of which waits until its delta is durable before it sends the next one.

Beside it, in turn and on the same server: the limit (`copy_limit`), which copies the rows that turnlog wrote last, and
the eventsourcing library used plainly.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any
from uuid import uuid4

from benchmarks.benchmark import STORED, Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Samples, Say, interleaved
from benchmarks.copy_limit import CopyLimit
from benchmarks.measuring import Spread, percentile, ratios
from benchmarks.peers.eventsourcing import Eventsourcing
from benchmarks.server import Ground
from benchmarks.sessions import LoadedSession, all_there, start_sessions
from benchmarks.systems import Conversation, create_all, running
from benchmarks.workload import Workload
from turnlog.infrastructure.append.completion import Completion
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings

_WARM_UP = 3  # deltas a session before the clock starts
_OURS, _COPY, _PLAIN = "turnlog", "COPY alone", "eventsourcing alone"
_RATE = "events/s"


@dataclass(frozen=True, slots=True)
class AppendOptions:
    """Each repeat ends after `deltas` deltas a session or after `seconds`, whichever comes first."""

    sessions: int = option(1_000, "Concurrent sessions.")
    deltas: int = option(200, "Deltas a session in each repeat.")
    seconds: float = option(10.0, "At most so long in each repeat.")
    repeat: int = option(5, "Repeats of all three, in turn.")
    plain_seconds: float = option(2.0, "How long the eventsourcing library runs in each.")


async def measure(options: AppendOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    async with AsyncExitStack() as stack:
        say(f"starting {options.sessions} sessions")
        contest = await _prepared(options, ground, stack)
        case = f"{options.sessions} sessions"
        visits = ((_OURS, contest.ours), (_COPY, contest.copied), (_PLAIN, contest.plain))
        samples = await interleaved([Entry(case, name, visit) for name, visit in visits], options.repeat, say)
        ours, copy, plain = (Key(case, name, _RATE) for name in (_OURS, _COPY, _PLAIN))
        say("verifying")
        return Report(
            benchmark="append",
            title=f"{options.sessions} sessions append delta by delta, each waits until it is durable",
            options=asdict(options),
            samples=samples,
            verified=await all_there(contest.url, contest.sessions),
            checked=STORED,
            machine=machine_of(ground),
            ratios=[
                samples.ratio("turnlog against COPY of the same rows", ours, copy, "append-copy"),
                samples.ratio("turnlog against eventsourcing used plainly", ours, plain, "append-plain"),
            ],
            more=_flat(options, samples, contest.counted),
        )


async def _prepared(options: AppendOptions, ground: Ground, stack: AsyncExitStack) -> _Contest:
    url = ground.database(_OURS)
    log = await stack.enter_async_context(
        SessionLog.open(Settings.from_env({"DATABASE_URL": url, "REDIS_URL": "none"}))
    )
    workload = Workload()
    sessions = await start_sessions(log, options.sessions, workload)
    copy = stack.enter_context(CopyLimit(url))
    system = await stack.enter_async_context(running(Eventsourcing, ground))
    chats = [system.conversation(uuid4()) for _ in range(options.sessions)]
    await create_all(chats)
    contest = _Contest(options, url, log, sessions, copy, chats)
    await contest.ours()  # so that everything is warm, and COPY has something to copy
    contest.counted = 0
    return contest


@dataclass(slots=True)
class _Contest:
    options: AppendOptions
    url: str
    log: SessionLog
    sessions: Sequence[LoadedSession]
    copy: CopyLimit
    chats: Sequence[Conversation]
    counted: int = 0
    """Deltas in the time so far."""
    last: tuple[int, int] = (0, 0)
    """Log positions that turnlog's last visit took: after the first, up to the second."""

    async def ours(self) -> Numbers:
        """One turn in every session. Opening, warming up and closing the steps is not timed."""
        async with AsyncExitStack() as stack:
            answers = await asyncio.gather(*(self._begin(session, stack) for session in self.sessions))
            numbers = await self._streamed(answers)
            await asyncio.gather(
                *(session.finish(answer) for session, answer in zip(self.sessions, answers, strict=True))
            )
            return numbers

    async def copied(self) -> Numbers:
        """The same rows once more, with nothing around them."""
        return {_RATE: self.copy.rows_per_second(*self.last)}

    async def plain(self) -> Numbers:
        """The same number of sessions until the time is over. Saves that are under way then count too."""
        began = perf_counter()
        until = began + self.options.plain_seconds
        saved = await asyncio.gather(*(_save(chat, until) for chat in self.chats))
        return {_RATE: sum(saved) / (perf_counter() - began)}

    async def _begin(self, session: LoadedSession, stack: AsyncExitStack) -> Completion:
        answer = await session.begin(stack)
        await _stream(session, answer, _WARM_UP, float("inf"), array("d"))
        return answer

    async def _streamed(self, answers: Sequence[Completion]) -> Numbers:
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
        self.last = (first, self.copy.last_position())
        self.counted += len(waits)
        ordered = sorted(waits)
        return {
            _RATE: len(waits) / seconds,
            "events a commit": len(waits) / commits,
            "acknowledged after, p50, ms": percentile(ordered, 50) * 1e3,
            "acknowledged after, p99, ms": percentile(ordered, 99) * 1e3,
        }


async def _stream(session: LoadedSession, answer: Completion, deltas: int, until: float, waits: array[float]) -> None:
    """Sends delta after delta; each wait for an acknowledgement goes into `waits`."""
    for _ in range(deltas):
        began = perf_counter()
        if began >= until:
            return
        await answer.text(session.workload.delta(session.number, session.sent))
        waits.append(perf_counter() - began)
        session.sent += 1


async def _save(chat: Conversation, until: float) -> int:
    saved = 0
    while perf_counter() < until:
        await chat.put_delta("delta")
        saved += 1
    return saved


def _flat(options: AppendOptions, samples: Samples, events: int) -> dict[str, Any]:
    """The same numbers by plain names, for scripts."""
    case = f"{options.sessions} sessions"
    found = {key[1:]: numbers for key, numbers in samples.by_key.items() if key.case == case}
    ours, copy, plain = (found[name, _RATE] for name in (_OURS, _COPY, _PLAIN))
    named = {
        "events_per_second": ours,
        "events_per_commit": found[_OURS, "events a commit"],
        "ack_p50_ms": found[_OURS, "acknowledged after, p50, ms"],
        "ack_p99_ms": found[_OURS, "acknowledged after, p99, ms"],
        "copy_rows_per_second": copy,
        "plain_events_per_second": plain,
        "ratio_to_copy": ratios(ours, copy),
        "ratio_to_plain": ratios(ours, plain),
    }
    spreads = {name: Spread.of(numbers) for name, numbers in named.items()}
    return {
        "sessions": options.sessions,
        "repeats": options.repeat,
        "events": events,
        **{name: spread.median for name, spread in spreads.items()},
        **{f"{name}_min": spread.low for name, spread in spreads.items()},
        **{f"{name}_max": spread.high for name, spread in spreads.items()},
    }


APPEND = Benchmark(
    "append",
    "Many sessions append delta by delta, beside COPY.",
    AppendOptions,
    {"sessions": 200, "deltas": 50, "repeat": 2, "plain_seconds": 0.5},
    measure,
    plots=(_RATE,),
)
