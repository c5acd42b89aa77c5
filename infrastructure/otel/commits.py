"""What a commit has stored, as metrics, as a span of its own, and as the ends of what was open.

Every delta of this process comes through here, so one that is alone in its append is not read at all.
"""

from __future__ import annotations

import time
from asyncio import get_running_loop
from collections.abc import Iterable, Sequence
from itertools import islice

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Tracer

from turnlog.domain.errors import UnreadableEventError
from turnlog.domain.events import (
    STEP_DELTAS,
    CompletionAbandoned,
    CompletionEnded,
    CompletionFailed,
    CompletionFinished,
    CompletionInterrupted,
    CompletionStarted,
    SessionEvent,
    ToolResultAdded,
    TurnEnded,
)
from turnlog.infrastructure.otel import names
from turnlog.infrastructure.otel.instruments import Instruments
from turnlog.infrastructure.otel.steps import OpenStep, Steps
from turnlog.infrastructure.otel.turns import Turns
from turnlog.infrastructure.store.appends import Append
from turnlog.infrastructure.store.mapper import EventMapper

MAX_LINKS = 64
"""Steps that the span of a commit links to, at most."""

_ENDS = (CompletionFinished, CompletionInterrupted, CompletionFailed, CompletionAbandoned)
_KINDS = {cls.topic: {names.DELTA_KIND: cls.topic.rpartition(".")[0]} for cls in STEP_DELTAS}
_READ = frozenset(cls.topic for cls in (CompletionStarted, *_ENDS, ToolResultAdded, TurnEnded))
_STEP_ENDS = frozenset(cls.topic for cls in _ENDS)


class Commits:
    """Is given what each commit has stored. `content`: deltas are read, for what they say."""

    def __init__(self, tracer: Tracer, instruments: Instruments, steps: Steps, turns: Turns, *, content: bool) -> None:
        self._tracer = tracer
        self._steps = steps
        self._turns = turns
        self._content = content
        self._mapper = EventMapper()
        self._loop = get_running_loop()
        self._deltas = instruments.counter(names.DELTAS)
        self._durable = instruments.histogram(names.DURABLE)
        self._batch = instruments.histogram(names.BATCH)

    def stored(self, appends: Sequence[Append]) -> None:
        """A commit has stored these."""
        now = self._loop.time()
        kinds, written = dict[str, int](), set[OpenStep]()
        events = size = 0
        for append in appends:
            events += append.count
            size += append.size
            rows, step = append.rows, self._steps.written(append.id_bytes)
            if step is not None:
                written.add(step)
            if len(rows) == 2 and rows[0] in _KINDS and not self._content:  # as nearly all are
                topic = rows[0]
                kinds[topic] = kinds.get(topic, 0) + 1
                if step is not None:
                    self._steps.chunk(step, append.since)
            else:
                self._several(append, step, kinds, now)
        seconds = max(0.0, now - appends[0].since)
        self._durable.record(seconds)
        self._batch.record(events)
        for topic, number in kinds.items():
            self._deltas.add(number, _KINDS[topic])
        self._span(len(appends), events, size, seconds, written)

    def _several(self, append: Append, step: OpenStep | None, kinds: dict[str, int], now: float) -> None:
        """An append that is no delta alone."""
        self._read(append, step, now)
        topics = append.rows[::2]
        deltas = [topic for topic in topics if topic in _KINDS]
        for topic in deltas:
            kinds[topic] = kinds.get(topic, 0) + 1
        if deltas and step is not None and _STEP_ENDS.isdisjoint(topics):  # else it did not stream
            self._steps.chunk(step, append.since)

    def _read(self, append: Append, step: OpenStep | None, now: float) -> None:
        for topic, body in zip(append.rows[::2], append.rows[1::2], strict=True):
            if topic in _READ or (self._content and topic in _KINDS):
                try:
                    event = self._mapper.event(topic, body)
                except UnreadableEventError:  # of a newer version, copied from elsewhere
                    continue
                self._happened(append.id_bytes, event, step, now)

    def _happened(self, session: bytes, event: SessionEvent, step: OpenStep | None, now: float) -> None:
        match event:
            case CompletionStarted(step_id=step_id):
                self._steps.begun(session, step_id, now)
            case CompletionEnded(step_id=step_id):
                self._steps.ended(step_id, event, now)
            case ToolResultAdded():
                self._turns.tool_ended(event, now)
            case TurnEnded(run=run):
                self._turns.ended(run, event, now)
            case _:
                said = step or self._steps.written(session)
                if said is not None and said.said is not None:
                    said.said.add(event)

    def _span(self, appends: int, events: int, size: int, seconds: float, steps: Iterable[OpenStep]) -> None:
        span = self._tracer.start_span(
            names.COMMIT,
            context=Context(),
            kind=SpanKind.CLIENT,
            attributes={
                names.DB_SYSTEM: "postgresql",
                names.COMMIT_APPENDS: appends,
                names.COMMIT_EVENTS: events,
                names.COMMIT_BYTES: size,
            },
            start_time=time.time_ns() - int(seconds * 1e9),
        )
        if span.is_recording():
            for step in islice(steps, MAX_LINKS):
                span.add_link(step.span.get_span_context())
        span.end()
