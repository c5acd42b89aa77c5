"""OpenTelemetry's SDK in memory. It is imported when a test asks for it: a log without telemetry is to stay without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Telemetry:
    """What was told."""

    def __init__(self, spans: Any, reader: Any) -> None:
        self._spans = spans
        self._reader = reader

    def spans(self, name: str = "") -> list[Any]:
        """The spans that have ended, in that order; those whose name begins so."""
        return [span for span in self._spans.get_finished_spans() if span.name.startswith(name)]

    def span(self, name: str) -> Any:
        """The one span of this name."""
        (span,) = self.spans(name)
        return span

    def points(self, metric: str) -> list[Any]:
        """The points of a metric now; none if nothing was told of it."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
        found = [one for scope in scopes for one in scope.metrics if one.name == metric]
        return [point for one in found for point in one.data.data_points]

    def value(self, metric: str, **attributes: Any) -> float:
        """The sum of a metric's points with these attributes, whose names are given without dots; of a histogram the
        number of what was recorded."""
        points = [point for point in self.points(metric) if _has(point.attributes, attributes)]
        return sum(point.count if hasattr(point, "count") else point.value for point in points)

    def data(self) -> Any:
        """All metrics now, as an exporter is given them."""
        return self._reader.get_metrics_data()

    def names(self) -> set[str]:
        """The names of all metrics that something was told of."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
        return {metric.name for scope in scopes for metric in scope.metrics}


def _has(attributes: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    there = {key.replace(".", "_"): value for key, value in attributes.items()}
    return all(there.get(key) == value for key, value in wanted.items())


@contextmanager
def set_up() -> Iterator[Telemetry]:
    """The global providers, set for a block."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing, metering = TracerProvider(), MeterProvider([reader])
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(metering)
    try:
        yield Telemetry(spans, reader)
    finally:
        tracing.shutdown()
        metering.shutdown()
        unset()


def unset() -> None:
    """Lets the global providers be set again, which the API allows once a process."""
    from opentelemetry import trace
    from opentelemetry.metrics import _internal as metrics
    from opentelemetry.util._once import Once

    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
    metrics._METER_PROVIDER, metrics._METER_PROVIDER_SET_ONCE = None, Once()
    metrics._PROXY_METER_PROVIDER = metrics._ProxyMeterProvider()  # the old one has handed over to what is shut down
