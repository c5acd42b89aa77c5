"""What turnlog promises about its speed: the table that a report is held against. Each is a ratio of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that is to be at least, or at most, so much."""

    what: str
    bound: Literal["at least", "at most"]
    limit: float
    tried: str = ""
    """What was tried where it is not reached, for the report. Written by hand."""

    def is_reached(self, ratio: float) -> bool:
        """Whether this median is good enough."""
        return ratio >= self.limit if self.bound == "at least" else ratio <= self.limit


TARGETS = {
    "append-copy": Target(
        "1000 streams, each delta acknowledged, one process: events/s against binary COPY of the same rows",
        "at least",
        0.65,
    ),
    "append-plain": Target("the same against the eventsourcing library used plainly", "at least", 25),
    "latency": Target(
        "a stream of 60 deltas/s beside 20,000 events/s: p99 until a delta is durable, against a bare INSERT and "
        "COMMIT beside the same",
        "at most",
        3,
    ),
    "pace": Target(
        "200 streams of 30 deltas/s: CPU a delta, all sides together, against no wait",
        "at most",
        0.65,
    ),
    "fan_out": Target(
        "1,000 followers over ten processes against over one: CPU, all sides together",
        "at most",
        1.5,
    ),
    "writers": Target(
        "eight writer processes against one, the same 1000 streams in all: events/s of all together",
        "at least",
        1,
        "The lock of the table over each commit and NOTIFY are gone (0.44 with them), and the statement is prepared. "
        "On two cores one process with so many streams already uses nearly both, and what is left is the price of "
        "sixteen processes on them: a batch holds 125 rows at most, and everybody's caches are somebody else's. Where "
        "one process has more than it can carry, eight are quicker (4,000 streams), and so are eight with 125 streams "
        "each than one with 125: see the table of this benchmark",
    ),
    "replay": Target(
        "a cold fold of 10,000 deltas: events/s against SELECT of the same rows",
        "at least",
        0.5,
    ),
    "read-get": Target(
        "a hot prompt of 1000 messages, from Redis: time against GET of the same bytes and one JSON parse",
        "at most",
        1.5,
    ),
    "read-replaced": Target(
        "a hot prompt of 1000 messages, in a process that has read it before: times faster than a cache hit of the "
        "pattern that turnlog replaces",
        "at least",
        4,
    ),
    "read-peer": Target("the same: times faster than the fastest other peer", "at least", 15),
    "growth": Target(
        "the 10,000th turn against the 10th: statements, rows read, bytes to Redis, WAL (the worst of them)",
        "at most",
        1.1,
    ),
    "long-session": Target(
        "a session of 100,000 turns against one of 25: rows read, bytes and CPU of open and say, say, record, a "
        "window, a live page and a page of turns (the worst of them)",
        "at most",
        1.2,
    ),
    "lists": Target(
        "a page of a list of 1,000,000 sessions against one of 1,000, each filter, first and far page: rows read (the "
        "worst of them)",
        "at most",
        1.1,
    ),
    "lists-wal": Target(
        "an event of a new session among 1,000,000 others against an empty store, right after a checkpoint: WAL bytes",
        "at most",
        1.3,
        "Ids in the order of time: with random ones it is 1.8, most of it pages of three primary keys. What is left is "
        "a page a user in each of three indexes by user, logged whole once after a checkpoint: wal_compression = on "
        "makes these a third smaller. Hardly a page of the heaps is logged whole, so fill factors have nothing to give",
    ),
    "turn-crowd": Target(
        "turns of 500 deltas, each durable, 100 streams at once: deltas/s against the best peer that saves each delta",
        "at least",
        10,
    ),
    "row-security": Target(
        "the application's appends with row-level security: events/s against without", "at least", 0.95
    ),
    "turn-single": Target(
        "the same, one stream that arrives at full speed (read ahead, shown only when durable)", "at least", 3
    ),
}
