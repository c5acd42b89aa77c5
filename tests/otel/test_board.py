"""The board for Grafana: each metric and label that it asks for is one that is told, and none is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.support.answering import asking
from tests.support.telemetry import Telemetry
from turnlog import Session
from turnlog.infrastructure.otel.names import METRICS, PROXIED, Metric
from turnlog.testing import Answer, ToolCall

BOARD = Path(__file__).parents[2] / "examples" / "grafana" / "turnlog.json"
_METRIC = re.compile(r"\b((?:turnlog|gen_ai)_\w+)(?:\{([^}]*)\})?(?=[\[)])")
_BY = re.compile(r"by \(([\w, ]+)\)")


def asked() -> list[str]:
    """The expressions of all panels."""
    board: dict[str, Any] = json.loads(BOARD.read_text("utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def named(expression: str) -> list[tuple[str, str]]:
    """The metrics of an expression, each with what it chooses among its series."""
    return _METRIC.findall(_BY.sub("", expression))


def series(metric: Metric) -> set[str]:
    """The names of its series in Prometheus."""
    name = metric.in_prometheus
    return {f"{name}_{part}" for part in ("bucket", "sum", "count")} if metric.kind == "histogram" else {name}


def test_each_metric_and_label_of_the_board_is_one_that_is_told() -> None:
    known = {name: metric for metric in METRICS for name in series(metric)}
    for expression in asked():
        found = named(expression)
        assert found, expression
        for name, chosen in found:
            labels = set(re.findall(r"(\w+)[!=~]", chosen)) | set(", ".join(_BY.findall(expression)).split(", "))
            there = {attribute.replace(".", "_") for attribute in known[name].attributes}
            assert labels - {"le", ""} <= there, expression


def test_each_metric_is_on_the_board() -> None:
    names = {name for expression in asked() for name, _ in named(expression)}
    assert [metric.name for metric in METRICS if not series(metric) & names] == []


def test_the_panels_lie_beside_each_other() -> None:
    places = [panel["gridPos"] for panel in json.loads(BOARD.read_text("utf-8"))["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


async def test_prometheus_has_the_metrics_under_the_names_of_the_board(session: Session, telemetry: Telemetry) -> None:
    """As the exporter makes them of what is told."""
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import REGISTRY, generate_latest

    reader = PrometheusMetricReader(disable_target_info=True)
    try:
        async with asking([Answer(tool_calls=[ToolCall("weather")]), Answer(["It ", "is ", "warm."])]) as model:
            await model.answer(session, "Hi", tools=[weather])
        session._parts.observer.proxied("recorded")
        reader._collector.add_metrics_data(telemetry.data())
        reader._collector._callback = None
        text = generate_latest(REGISTRY).decode()
    finally:
        reader.shutdown()
    told = {line.partition("{")[0].partition(" ")[0] for line in text.splitlines()}
    for metric in METRICS:
        if "projection" not in metric.name:  # nothing was projected
            assert series(metric) <= told, metric.name
    assert PROXIED.in_prometheus in told


def weather() -> str:
    """The weather."""
    return "21 degrees"
