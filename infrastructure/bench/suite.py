"""All benchmarks, in the order of a report."""

from __future__ import annotations

from turnlog.infrastructure.bench.append import APPEND
from turnlog.infrastructure.bench.follow import FOLLOW
from turnlog.infrastructure.bench.growth import GROWTH
from turnlog.infrastructure.bench.latency import LATENCY
from turnlog.infrastructure.bench.memory import MEMORY
from turnlog.infrastructure.bench.read import READ
from turnlog.infrastructure.bench.repair import REPAIR
from turnlog.infrastructure.bench.replay import REPLAY
from turnlog.infrastructure.bench.storage import STORAGE
from turnlog.infrastructure.bench.turn import TURN
from turnlog.infrastructure.bench.writers import WRITERS

SUITE = [APPEND, LATENCY, WRITERS, REPLAY, READ, TURN, GROWTH, STORAGE, FOLLOW, MEMORY, REPAIR]
