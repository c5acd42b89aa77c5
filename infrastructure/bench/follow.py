"""`bench follow`: how long after a delta is durable do followers in another process have it?

A process of its own writes an answer at the pace of a model, and says when each delta was acknowledged. Beside it
stand the reads of the log that following cost: of one session one reader a process, however many followers it has.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from turnlog.infrastructure.bench.measuring import machine, percentile
from turnlog.infrastructure.bench.report import Progress
from turnlog.infrastructure.bench.server import fresh_database
from turnlog.infrastructure.bench.workload import Workload
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings

NO_REDIS = "none"


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """`pace` is in deltas a second. `followers` are those of the larger case; the other one has a single one."""

    followers: int
    deltas: int
    pace: float
    database_url: str | None
    redis_url: str | None


async def measure_follow(options: FollowOptions, say: Progress) -> dict[str, Any]:
    """Runs the benchmark and returns the report. Latencies are in milliseconds."""
    with fresh_database(options.database_url) as url, _redis(options.redis_url) as redis_url:
        cases, about = list[dict[str, Any]](), dict[str, Any]()
        for notified, places in (("redis", redis_url), ("postgres", NO_REDIS)):
            settings = Settings(database_url=url, redis_url=places)
            async with SessionLog.open(settings) as log:
                about = machine((await log.inspect())["postgres"])
                for followers in (1, options.followers):
                    say(f"{followers} followers, woken by {notified}")
                    cases.append({"woken_by": notified, **await _case(log, followers, options)})
    return {
        "benchmark": "follow",
        "followers": options.followers,
        "deltas": options.deltas,
        "pace": options.pace,
        "cases": cases,
        "verified": all(case.pop("verified") for case in cases),
        "machine": about,
    }


@contextmanager
def _redis(url: str | None) -> Iterator[str]:
    from turnlog.infrastructure.embedded import EmbeddedServers  # noqa: PLC0415 needs a Unix

    if url is not None:
        yield url
        return
    with TemporaryDirectory(prefix="tl-bench-") as folder, EmbeddedServers(Path(folder), postgres=False) as embedded:
        yield embedded.start().redis_url or ""


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


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(write(json.loads(sys.stdin.readline())))))
