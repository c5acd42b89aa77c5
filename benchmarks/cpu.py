"""The processor time that some work takes: in this process, in Postgres, and in Redis."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import Ground

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class CpuClock:
    """A reading, in seconds. Postgres' is there where its processes are on this machine, and the system says."""

    client: float
    redis: float | None
    postgres: Mapping[int, float]
    """By process."""

    @classmethod
    def read(cls, ground: Ground) -> CpuClock:
        """Now. Reading takes some time of each itself."""
        return cls(time.process_time(), ground.redis_cpu(), _of_postgres(ground.postgres_process()))

    def since(self, before: CpuClock) -> dict[str, float]:
        """Seconds between two readings, by who took them. A process of Postgres that has ended in between is lost."""
        spent = {"client": self.client - before.client}
        if self.postgres:
            taken = (seconds - before.postgres.get(process, 0.0) for process, seconds in self.postgres.items())
            spent["Postgres"] = sum(taken)
        if self.redis is not None and before.redis is not None:
            spent["Redis"] = self.redis - before.redis
        return spent


def _of_postgres(backend: int) -> dict[int, float]:
    """By process of the server that this one belongs to; empty where it is not to be found."""
    parents = {process: parent for process in _processes() if (parent := _postgres_parent(process)) is not None}
    server = parents.get(backend)
    if server is None:
        return {}
    members = [server, *(process for process, parent in parents.items() if parent == server)]
    return {process: seconds for process in members if (seconds := _seconds(process)) is not None}


def _processes() -> list[int]:
    return [int(path.name) for path in _PROC.glob("[0-9]*")] if _PROC.exists() else []


def _postgres_parent(process: int) -> int | None:
    try:
        head, _, rest = (_PROC / str(process) / "stat").read_text().rpartition(")")
    except OSError:  # it has ended, or is not ours to look at
        return None
    return int(rest.split()[1]) if head.endswith("(postgres") else None


def _seconds(process: int) -> float | None:
    try:
        return int((_PROC / str(process) / "schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return None
