"""`bench repair`: many faulty conversations imported, diagnosed and repaired in one run. Is the memory flat?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

from turnlog.infrastructure.bench.measuring import machine, resident_bytes
from turnlog.infrastructure.bench.memory import Sample, verdict
from turnlog.infrastructure.bench.report import Progress
from turnlog.infrastructure.bench.server import fresh_database
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.several import each

_SAMPLES = 10
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """How many conversations."""

    conversations: int
    database_url: str | None


async def measure_repair(options: RepairOptions, say: Progress) -> dict[str, Any]:
    """Runs the benchmark and returns the report."""
    async with AsyncExitStack() as stack:
        url = stack.enter_context(fresh_database(options.database_url))
        log = await stack.enter_async_context(SessionLog.open(Settings(database_url=url, redis_url="none")))
        began = perf_counter()
        await _imported(log, options.conversations, say)
        seconds = perf_counter() - began
        samples, corrections = await _repaired(log, options.conversations, say)
        again = sum([len((await log.repair(i, SYSTEM, True)).corrections) async for i in log.session_ids(SYSTEM)])
        outcome = verdict(samples)
        per_second = outcome.pop("events_per_second")
        return {
            "benchmark": "repair",
            "conversations": options.conversations,
            "imported_per_second": options.conversations / seconds,
            "repaired_per_second": per_second,
            "corrections": corrections,
            **outcome,
            "verified": again == 0 and corrections >= options.conversations,
            "machine": machine((await log.inspect())["postgres"]),
        }


async def _imported(log: SessionLog, count: int, say: Progress) -> None:
    async def work(number: int) -> None:
        await log.import_session(faulty(number), "u1")

    await each(_counted(count), work)
    say(f"{count} conversations imported")


async def _repaired(log: SessionLog, count: int, say: Progress) -> tuple[list[Sample], int]:
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
