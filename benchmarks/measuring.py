"""Measuring, shared by all benchmarks: samples of repeats, percentiles, memory, and what machine it was."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Spread:
    """One quantity over all repeats."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """The spread of the samples, of which there must be one."""
        return cls(statistics.median(samples), min(samples), max(samples))

    def as_json(self) -> dict[str, float]:
        """As reports name them."""
        return {"median": self.median, "min": self.low, "max": self.high}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Paired repeat by repeat: a noisy neighbour slows both of a pair."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The sample below which this percentage of the sorted samples lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def resident_bytes() -> int:
    """The memory that this process holds now; where the system does not say, the most it ever held."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024
    try:
        import psutil  # type: ignore[import-untyped] # noqa: PLC0415 - no dependency: used where it happens to be
    except ImportError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return int(psutil.Process().memory_info().rss)


def machine(postgres: dict[str, Any]) -> dict[str, Any]:
    """What the numbers were measured on. `postgres` holds the server's settings, see `Ground.settings`."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "postgres": postgres["server_version"],
        "fsync": postgres["fsync"],
        "synchronous_commit": postgres["synchronous_commit"],
    }
