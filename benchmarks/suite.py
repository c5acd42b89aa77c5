"""All benchmarks, in the order of a report."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.answer import ANSWER
from benchmarks.append import APPEND
from benchmarks.benchmark import Benchmark
from benchmarks.fan_out import FAN_OUT
from benchmarks.follow import FOLLOW
from benchmarks.growth import GROWTH
from benchmarks.latency import LATENCY
from benchmarks.lists import LISTS
from benchmarks.long_session import LONG_SESSION
from benchmarks.long_turn import LONG_TURN
from benchmarks.memory import MEMORY
from benchmarks.pace import PACE
from benchmarks.processes import PROCESSES
from benchmarks.proxy import PROXY
from benchmarks.read import READ
from benchmarks.repair import REPAIR
from benchmarks.replay import REPLAY
from benchmarks.row_security import ROW_SECURITY
from benchmarks.serve import SERVE
from benchmarks.storage import STORAGE
from benchmarks.turn import TURN
from benchmarks.writers import WRITERS
from turnlog.domain.errors import InvalidInputError

SUITE = [
    APPEND, LATENCY, PACE, FOLLOW, FAN_OUT, WRITERS, PROCESSES, REPLAY, READ, TURN, ANSWER, GROWTH, LONG_SESSION,
    LONG_TURN, LISTS, STORAGE, MEMORY, REPAIR, ROW_SECURITY, SERVE, PROXY,
]  # fmt: skip


def benchmarks_named(names: Iterable[str]) -> list[Benchmark]:
    """The benchmarks of these names, in their order. Raises InvalidInputError for a name that none has."""
    by_name = {benchmark.name: benchmark for benchmark in SUITE}
    for name in names:
        if name not in by_name:
            raise InvalidInputError("benchmark", f"{name!r} is not one of: {', '.join(by_name)}")
    return [by_name[name] for name in names]
