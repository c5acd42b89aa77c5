"""`follow`: from the moment at which a delta is durable until followers in another process have it.

A process of its own writes an answer at the pace of a model, and says when each delta was acknowledged. Beside it
stand the reads of the log that following cost: of one session one reader a process, however many followers it has.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from benchmarks import CHECKOUT
from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Say, interleaved
from benchmarks.measuring import percentile
from benchmarks.server import Ground
from benchmarks.workload import Workload
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings

_REDIS, _POSTGRES = "woken by Redis", "woken by Postgres"
_P99 = "p99, ms"


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """One answer, which another process writes."""

    followers: int = option(1_000, "Followers of the session, in the larger of two cases.")
    deltas: int = option(300, "Deltas of the answer.")
    pace: int = option(60, "Deltas a second.")
    repeat: int = option(3, "Answers, in each case.")


async def measure(options: FollowOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    follow = _Follow(options, ground)
    cases = {"1 follower": 1, f"{options.followers:,} followers": options.followers}
    entries = [
        Entry(case, system, partial(follow.answer, followers, system))
        for case, followers in cases.items()
        for system in (_REDIS, _POSTGRES)
    ]
    samples = await interleaved(entries, options.repeat, say)
    few, many = cases
    return Report(
        benchmark="follow",
        title="From durable in one process to followers in another",
        options=asdict(options),
        samples=samples,
        verified=follow.all_right,
        checked="every follower got every event once, in order",
        machine=machine_of(ground),
        ratios=[
            samples.ratio(f"{few}, {_REDIS} against {_POSTGRES}", Key(few, _REDIS, _P99), Key(few, _POSTGRES, _P99))
        ],
        notes=[f"an answer of {options.deltas} deltas at {options.pace} a second; {many} share a process"],
    )


class _Follow:
    def __init__(self, options: FollowOptions, ground: Ground) -> None:
        self.all_right = True
        self._options = options
        self._url = ground.database("turnlog")
        self._redis = {_REDIS: ground.redis_url or "none", _POSTGRES: "none"}

    async def answer(self, followers: int, system: str) -> Numbers:
        """One answer, with its followers."""
        async with SessionLog.open(
            Settings.from_env({"DATABASE_URL": self._url, "REDIS_URL": self._redis[system]})
        ) as log:
            session = await log.start_session(user_id="bench")
            await session.say("Go on.")
            following = [asyncio.create_task(_arrivals(session)) for _ in range(followers)]
            while log.follow_statistics.followers < followers:  # noqa: ASYNC110 nobody is told of it
                await asyncio.sleep(0.01)
            before = log.follow_statistics.reads
            durable = await _written(log.settings, session, self._options)
            seen = await asyncio.gather(*following)
            reads = log.follow_statistics.reads - before
            whole = list(range(1, (await session.view()).version + 1))
        self.all_right &= len(durable) == self._options.deltas and all(list(each) == whole for each in seen)
        waits = sorted((at - durable[p]) * 1e3 for each in seen for p, at in each.items() if p in durable)
        return {
            "p50, ms": max(0.0, percentile(waits, 50)),
            _P99: max(0.0, percentile(waits, 99)),
            "reads a delta": reads / self._options.deltas,
        }


async def _arrivals(session: Session) -> dict[int, float]:
    """When each position arrived, in the order of arrival."""
    return {recorded.position: time.time() async for recorded in session.follow(until_turn_ends=True)}


async def _written(settings: Settings, session: Session, options: FollowOptions) -> dict[int, float]:
    """When each delta was acknowledged in the writing process, by its position."""
    job = {"settings": settings.model_dump(mode="json"), "session_id": str(session.id)} | asdict(options)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=CHECKOUT
    )
    answer, _ = await process.communicate(json.dumps(job).encode())
    acknowledged: Sequence[float] = json.loads(answer)
    # Behind the session's start, the message, and the beginning of the step.
    return dict(enumerate(acknowledged, start=4))


async def write(job: dict[str, Any]) -> list[float]:
    """The other process: an answer at the asked pace. When each delta was acknowledged."""
    workload, acknowledged, began = Workload(), list[float](), time.perf_counter()
    async with (
        SessionLog.open(Settings(**job["settings"])) as log,
        log.session(job["session_id"], SYSTEM).completion() as completion,
    ):
        for number in range(job["deltas"]):
            await asyncio.sleep(max(0.0, began + number / job["pace"] - time.perf_counter()))
            await completion.text(workload.delta(0, number))
            acknowledged.append(time.time())
        await completion.finish()
    return acknowledged


FOLLOW = Benchmark(
    "follow",
    "Follow an answer that another process writes, and measure how long each delta takes.",
    FollowOptions,
    {"deltas": 120, "repeat": 1},
    measure,
    plots=(_P99,),
)

if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(write(json.loads(sys.stdin.readline())))))
