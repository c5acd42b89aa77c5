"""The instruments of a meter provider. All logs of a process share them: each is made once, and asked of all logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, MeterProvider, Observation, get_meter_provider

from turnlog.infrastructure.observer import Gauges
from turnlog.infrastructure.otel import names
from turnlog.infrastructure.otel.names import METRICS, Metric

if TYPE_CHECKING:
    from turnlog.infrastructure.tables.catching_up import Lag

SCOPE = "turnlog"

_made: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()


def instruments() -> Instruments:
    """Those of the global meter provider."""
    provider = get_meter_provider()
    if provider not in _made:
        _made[provider] = Instruments(provider)
    return _made[provider]


class Instruments:
    """The instruments by their metric, and the open logs."""

    def __init__(self, provider: MeterProvider) -> None:
        self._meter = provider.get_meter(SCOPE)
        self._logs = set[Gauges]()
        self._past = dict.fromkeys((names.EVENTS, names.COMMITS, names.FAILED, names.FOLLOW_READS), 0)
        self._lags: tuple[Lag, ...] = ()
        self._histograms = {metric: self._histogram(metric) for metric in METRICS if metric.kind == "histogram"}
        self._counters = {metric: self._counter(metric) for metric in METRICS if metric.kind == "counter"}
        self._observe_logs()
        self._observe(names.LAG, self._lags_in_events)
        self._observe(names.LAG_TIME, self._lags_in_seconds)

    def histogram(self, metric: Metric) -> Histogram:
        """The instrument of a histogram."""
        return self._histograms[metric]

    def counter(self, metric: Metric) -> Counter:
        """The instrument of a counter."""
        return self._counters[metric]

    def opened(self, log: Gauges) -> Callable[[], None]:
        """Asks this log, too. Returns what to call when it is closed: what it has counted stays."""
        self._logs.add(log)

        def closed() -> None:
            self._logs.discard(log)
            for metric, read in _counts(log).items():
                self._past[metric] += read()

        return closed

    def lags(self, lags: Sequence[Lag]) -> None:
        """How far the projections were behind when they were looked at last."""
        self._lags = tuple(lags)

    def _histogram(self, metric: Metric) -> Histogram:
        return self._meter.create_histogram(
            metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
        )

    def _counter(self, metric: Metric) -> Counter:
        return self._meter.create_counter(metric.name, metric.unit, metric.description)

    def _observe(self, metric: Metric, read: Callable[[CallbackOptions], Iterable[Observation]]) -> None:
        if metric.kind == "observed counter":
            self._meter.create_observable_counter(metric.name, [read], metric.unit, metric.description)
        else:
            self._meter.create_observable_gauge(metric.name, [read], metric.unit, metric.description)

    # Asked by a reader, on a thread of its own

    def _observe_logs(self) -> None:
        for metric in self._past:
            self._observe(metric, partial(self._counted, metric))
        self._observe(names.QUEUE, lambda _: [Observation(sum(log.queued() for log in tuple(self._logs)))])
        self._observe(names.FOLLOWERS, lambda _: [Observation(sum(log.followers() for log in tuple(self._logs)))])
        self._observe(names.FOLLOWED, lambda _: [Observation(sum(log.followed() for log in tuple(self._logs)))])

    def _counted(self, metric: Metric, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self._past[metric] + sum(_counts(log)[metric]() for log in tuple(self._logs)))]

    def _lags_in_events(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(lag.events_behind, {names.PROJECTION: lag.name}) for lag in self._lags]

    def _lags_in_seconds(self, _: CallbackOptions) -> Iterable[Observation]:
        now = datetime.now(UTC)
        return [Observation(_waits(lag, now), {names.PROJECTION: lag.name}) for lag in self._lags]


def _counts(log: Gauges) -> dict[Metric, Callable[[], int]]:
    return {
        names.EVENTS: log.events,
        names.COMMITS: log.commits,
        names.FAILED: log.failed,
        names.FOLLOW_READS: log.follow_reads,
    }


def _waits(lag: Lag, now: datetime) -> float:
    return 0.0 if lag.waiting_since is None else max(0.0, (now - lag.waiting_since).total_seconds())
