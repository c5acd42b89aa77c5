"""The tables of spans and metrics, from their names."""

from __future__ import annotations

from turnlog.infrastructure.otel.names import METRICS, SPANS, Metric


def spans() -> str:
    """A row a kind of span."""
    rows = [
        f"| `{kind.name}` | {kind.description} | {_listed(kind.attributes)}{_content(kind.content)} |" for kind in SPANS
    ]
    return "\n".join(["| Span | What it is | Attributes |", "|---|---|---|", *rows])


def metrics() -> str:
    """A row a metric."""
    rows = [
        f"| `{metric.name}` | `{metric.in_prometheus}` | {_kind(metric)} | {metric.description} | "
        f"{_listed(metric.attributes)} |"
        for metric in METRICS
    ]
    return "\n".join(["| Metric | In Prometheus | Kind | What it is | Attributes |", "|---|---|---|---|---|", *rows])


def _kind(metric: Metric) -> str:
    return metric.kind.removeprefix("observed ")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _content(names: tuple[str, ...]) -> str:
    return f"; with content {_listed(names)}" if names else ""
