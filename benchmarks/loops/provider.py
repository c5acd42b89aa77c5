"""The provider that all loops ask: which model answers how fast, and what it says."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import CHECKOUT
from benchmarks.workload import Workload
from turnlog.domain.errors import TurnlogError

_MODULE = "benchmarks.loops.provider_process"
_MODEL = "bench-"
_WORKLOAD = Workload()


def model_of(pace_ms: float) -> str:
    """The model that waits so many milliseconds before each chunk."""
    return f"{_MODEL}{pace_ms:g}"


def delay_of(model: str) -> float:
    """What `model_of` has put into the name, in seconds."""
    return float(model.removeprefix(_MODEL)) / 1e3


def answer_text(turn: int, chunks: int) -> list[str]:
    """The deltas of the last answer of a conversation's n-th turn."""
    return [_WORKLOAD.delta(turn, number) for number in range(chunks)]


@asynccontextmanager
async def running_provider(chunks: int) -> AsyncIterator[str]:
    """The base URL of a provider whose last answers have so many chunks. Raises TurnlogError if it does not start."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", _MODULE, str(chunks), stdin=pipe, stdout=pipe, cwd=CHECKOUT
    )
    assert process.stdin is not None  # noqa: S101 for the type checker
    assert process.stdout is not None  # noqa: S101 for the type checker
    try:
        line = await process.stdout.readline()
        if not line:
            raise TurnlogError("the provider of the benchmark has not started")
        yield str(json.loads(line)["base_url"])
    finally:
        process.stdin.close()
        await process.wait()
