"""`bench follow`: how long after a delta is durable do followers in another process have it?

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
from typing import Any

from turnlog.infrastructure.bench.benchmark import Benchmark, Report, machine_of, option
from turnlog.infrastructure.bench.contest import Samples, Say
from turnlog.infrastructure.bench.measuring import percentile
from turnlog.infrastructure.bench.server import Ground
from turnlog.infrastructure.bench.workload import Workload
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings

NO_REDIS = "none"


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """Two cases: one follower, and many."""

    followers: int = option(1_000, "Followers of one session.")
    deltas: int = option(300, "Deltas of the answer they follow.")
    pace: float = option(60.0, "Deltas a second.")


async def measure(options: FollowOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark. Latencies are in milliseconds."""
    url, samples, cases = ground.database("turnlog"), Samples(), list[dict[str, Any]]()
    for notified, place in (("redis", ground.redis_url or NO_REDIS), ("postgres", NO_REDIS)):
        async with SessionLog.open(Settings(database_url=url, redis_url=place)) as log:
            for followers in (1, options.followers):
                say(f"{followers} followers, woken by {notified}")
                case = {"woken_by": notified, **await _case(log, followers, options)}
                samples.add(f"{followers:,} followers", f"woken by {notified}", _numbers(case))
                cases.append(case)
    verified = [case.pop("verified") for case in cases]
    return Report(
        benchmark="follow",
        title="From durable to followers in another process",
        options=asdict(options),
        samples=samples,
        verified=all(verified),
        checked="every follower got every event once, in order",
        machine=machine_of(ground),
        more={**asdict(options), "cases": cases},
    )


def _numbers(case: dict[str, Any]) -> dict[str, float]:
    return {"p50, ms": case["p50_ms"], "p99, ms": case["p99_ms"], "reads a delta": case["reads_per_delta"]}


async def _case(log: SessionLog, followers: int, options: FollowOptions) -> dict[str, Any]:
    session = await log.start_session(user_id="bench")
    await session.say("Go on.")
    following = [asyncio.create_task(_arrivals(session)) for _ in range(followers)]
    while log.follow_statistics.followers < followers:  # noqa: ASYNC110 nobody is told of it
        await asyncio.sleep(0.01)
    before = log.follow_statistics.reads
    durable = await _written(log.settings, session, options)
    seen = await asyncio.gather(*following)
    reads = log.follow_statistics.reads - before
    waits = sorted(
        (at - durable[position]) * 1e3 for each in seen for position, at in each.items() if position in durable
    )
    version = (await session.view()).version
    return {
        "followers": followers,
        "p50_ms": max(0.0, percentile(waits, 50)),
        "p99_ms": max(0.0, percentile(waits, 99)),
        "reads": reads,
        "reads_per_delta": reads / options.deltas,
        "verified": len(durable) == options.deltas and all(list(each) == list(range(1, version + 1)) for each in seen),
    }


async def _arrivals(session: Session) -> dict[int, float]:
    """When each position arrived, in the order of arrival."""
    return {recorded.position: time.time() async for recorded in session.follow(until_turn_ends=True)}


async def _written(settings: Settings, session: Session, options: FollowOptions) -> dict[int, float]:
    """When each delta was acknowledged in the writing process, by its position."""
    job = {"settings": settings.model_dump(mode="json"), "session_id": str(session.id)} | asdict(options)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
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
    "Follow an answer that another process writes.",
    FollowOptions,
    {"followers": 100, "deltas": 60},
    measure,
)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(write(json.loads(sys.stdin.readline())))))
