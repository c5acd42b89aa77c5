"""`repair`: many faulty conversations imported, diagnosed and repaired in one run. Is the memory flat?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.contest import Say
from benchmarks.measuring import resident_bytes
from benchmarks.memory import Sample, flatness, verdict, weighed
from benchmarks.server import Ground
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.repair.concurrent import each
from turnlog.infrastructure.settings import Settings

_SAMPLES = 10
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """How much there is to repair."""

    conversations: int = option(10_000, "Conversations of ten messages.")


async def measure(options: RepairOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    settings = Settings.from_env({"DATABASE_URL": ground.database("turnlog"), "REDIS_URL": "none"})
    async with SessionLog.open(settings) as log:
        began = perf_counter()
        await _imported(log, options.conversations, say)
        seconds = perf_counter() - began
        weights, corrections = await _repaired(log, options.conversations, say)
        again = sum([len((await log.repair(i, SYSTEM, True)).corrections) async for i in log.session_ids(SYSTEM)])
        found = verdict(weights)
        rates = {
            "imported_per_second": options.conversations / seconds,
            "repaired_per_second": found.pop("events_per_second"),
        }
        samples = weighed(weights)
        samples.add("all", "turnlog", {name.replace("_per_second", "/s"): rate for name, rate in rates.items()})
        return Report(
            benchmark="repair",
            title=f"{options.conversations:,} faulty conversations of ten messages imported, then repaired",
            options=asdict(options),
            samples=samples,
            verified=again == 0 and corrections >= options.conversations,
            checked="nothing is left to repair",
            machine=machine_of(ground),
            notes=[f"{corrections:,} corrections"],
            verdicts=[flatness(found)],
            more={**asdict(options), **rates, "corrections": corrections, **found},
        )


async def _imported(log: SessionLog, count: int, say: Say) -> None:
    async def work(number: int) -> None:
        await log.import_session(faulty(number), "u1")

    await each(_counted(count), work)
    say(f"{count} conversations imported")


async def _repaired(log: SessionLog, count: int, say: Say) -> tuple[list[Sample], int]:
    began, corrections, samples = perf_counter(), list[int](), list[Sample]()
    every = max(1, count // _SAMPLES)

    async def work(session_id: UUID) -> None:
        corrections.append(len((await log.repair(session_id, SYSTEM)).corrections))
        if len(corrections) % every == 0:
            samples.append(Sample(len(corrections), resident_bytes() / _MEGABYTE, perf_counter() - began))
            say(f"{len(corrections)} repaired: {samples[-1].rss_mb:.1f} MB")

    await each(log.session_ids(SYSTEM), work)
    return samples, sum(corrections)


async def _counted(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def faulty(number: int) -> list[dict[str, Any]]:
    """A conversation of ten messages with a split answer, a late result, and a call that was never answered."""
    function = {"name": "find", "arguments": f'{{"page": {number}}}'}
    calls = [{"id": f"call_{number}_{n}", "type": "function", "function": function} for n in range(3)]
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"Question {number}?"},
        {"role": "assistant", "content": "One moment."},
        {"role": "assistant", "content": None, "tool_calls": calls[:1]},
        {"role": "assistant", "content": None, "tool_calls": calls[1:2]},
        {"role": "user", "content": "And?"},
        {"role": "tool", "tool_call_id": f"call_{number}_0", "content": "found it"},
        {"role": "tool", "tool_call_id": f"call_{number}_1", "content": "found that, too"},
        {"role": "assistant", "content": "There it is.", "tool_calls": calls[2:]},
        {"role": "user", "content": "Thanks."},
    ]


REPAIR = Benchmark(
    "repair",
    "Import and repair many faulty conversations.",
    RepairOptions,
    {"conversations": 500},
    measure,
)
