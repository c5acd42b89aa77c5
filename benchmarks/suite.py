"""All benchmarks, in the order of a report."""

from __future__ import annotations

from benchmarks.append import APPEND
from benchmarks.follow import FOLLOW
from benchmarks.growth import GROWTH
from benchmarks.latency import LATENCY
from benchmarks.memory import MEMORY
from benchmarks.read import READ
from benchmarks.repair import REPAIR
from benchmarks.replay import REPLAY
from benchmarks.storage import STORAGE
from benchmarks.turn import TURN
from benchmarks.writers import WRITERS

SUITE = [APPEND, LATENCY, FOLLOW, WRITERS, REPLAY, READ, TURN, GROWTH, STORAGE, MEMORY, REPAIR]
