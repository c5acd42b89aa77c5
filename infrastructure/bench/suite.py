"""All benchmarks, in the order of a report."""

from __future__ import annotations

from turnlog.infrastructure.bench.append import APPEND
from turnlog.infrastructure.bench.memory import MEMORY
from turnlog.infrastructure.bench.repair import REPAIR
from turnlog.infrastructure.bench.turn import TURN

SUITE = [APPEND, TURN, MEMORY, REPAIR]
