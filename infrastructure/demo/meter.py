"""Measures what was stored, and how long a delta takes from its arrival until it is durable."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from turnlog.domain.step_appends import StepAppend
from turnlog.infrastructure.append.chunks import ChatReader
from turnlog.infrastructure.clock import now
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session

Chunk = TypeVar("Chunk")


@dataclass(slots=True)
class Measured:
    """What was measured in one part of the demo. `waits` has the seconds of each chunk that brought deltas."""

    sessions: int = 1
    events: int = 0
    commits: int = 0
    deltas: int = 0
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)

    @property
    def events_per_commit(self) -> float:
        """The mean number of events in a commit."""
        return self.events / self.commits if self.commits else 0.0

    def wait_ms(self, share: float) -> float:
        """The wait in milliseconds that this share of the waits does not exceed."""
        waits = sorted(self.waits)
        return waits[min(len(waits) - 1, int(len(waits) * share))] * 1000 if waits else 0.0

    def as_json(self) -> dict[str, Any]:
        """The numbers, rounded."""
        return {
            "sessions": self.sessions,
            "events": self.events,
            "deltas": self.deltas,
            "commits": self.commits,
            "events_per_commit": round(self.events_per_commit, 2),
            "delta_to_durable_ms": {"p50": round(self.wait_ms(0.50), 2), "p99": round(self.wait_ms(0.99), 2)},
            "wall_seconds": round(self.seconds, 2),
        }


class Meter:
    """Measures while its `with` block runs. `watch` times the chunks of a recording."""

    def __init__(self, log: SessionLog, sessions: int = 1) -> None:
        self.measured = Measured(sessions)
        self._log = log

    def __enter__(self) -> Self:
        statistics = self._log.writer_statistics
        self._events, self._commits = statistics.events, statistics.commits
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        statistics, measured = self._log.writer_statistics, self.measured
        measured.seconds = time.perf_counter() - self._began
        measured.events, measured.commits = statistics.events - self._events, statistics.commits - self._commits

    async def watch(self, session: Session, stream: AsyncIterator[Chunk]) -> AsyncIterator[StepAppend]:
        """Records the stream, once a dead writer's lease has run out; yields its deltas when they are durable."""
        arriving = Arrivals(stream)
        reader = ChatReader("shown", now)
        async for chunk in session.record(arriving, takeover=True):
            waited = time.perf_counter() - arriving.arrived.popleft()
            said = [command for piece in reader.read(chunk) for command in piece]
            if said:
                self.measured.waits.append(waited)
                self.measured.deltas += len(said)
            for delta in said:
                yield delta


class Arrivals(Generic[Chunk]):
    """A provider's stream that notes when its chunks arrive, since it is read ahead of what is shown."""

    def __init__(self, stream: AsyncIterator[Chunk]) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self.arrived: deque[float] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await anext(self._chunks)
        self.arrived.append(time.perf_counter())
        return chunk

    async def close(self) -> None:
        """Closes the provider's stream."""
        close = getattr(self._stream, "close", None)
        if close is not None:
            await close()
