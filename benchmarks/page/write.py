"""Writes the page, its plots, and the figures that it was made from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Benchmark
from benchmarks.page.svg import Found, bars, lines
from benchmarks.page.tables import Data, measured_tables, ratio_table, target_rows
from benchmarks.page.wins import wins
from benchmarks.report import by_quantity, machine_line
from benchmarks.targets import TARGETS

FIGURES = "figures.json"
_NUMBER = re.compile(r"\d[\d,]*")


def write_page(run: Mapping[str, Any], suite: Sequence[Benchmark], folder: Path) -> Path:
    """Writes performance.md into the folder, and beside it `performance/` with a plot each and the figures. `run` is
    what `all --json` prints. Returns the page's path."""
    beside = folder / "performance"
    beside.mkdir(parents=True, exist_ok=True)
    (beside / FIGURES).write_text(json.dumps(run, indent=1) + "\n", "utf-8")
    reports = {report["benchmark"]: report for report in run["reports"]}
    sections = [
        _section(benchmark, reports[benchmark.name], beside) for benchmark in suite if benchmark.name in reports
    ]
    page = folder / "performance.md"
    page.write_text(_filled(run, list(reports.values()), sections), "utf-8")
    return page


def _filled(run: Mapping[str, Any], reports: Sequence[Data], sections: Sequence[str]) -> str:
    fields = {
        "quick": ", of a short run with `--quick`: do not quote it" if run["quick"] else "",
        "machine": f"{machine_line(reports[0]['machine'])}. {_packages(run['packages'])}" if reports else "",
        "targets": "\n".join(target_rows(reports)),
        "tried": "\n".join(_tried(reports)),
        "peers": "\n".join(_peers(reports)),
        "left_out": "\n".join([*_left_out(reports), *(f"* {each}" for each in run["failed"])]),
        "wins": "\n".join(wins(reports)) or "Nowhere in this run.",
        "sections": "\n\n".join(sections),
    }
    text = files(__package__).joinpath("performance.md").read_text("utf-8")
    for name, value in fields.items():
        text = text.replace("{{" + name + "}}", value)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def _packages(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items()) + "."


def _tried(reports: Sequence[Data]) -> Iterator[str]:
    for ratio in (ratio for data in reports for ratio in data["ratios"]):
        if ratio.get("reached") is False:
            target = TARGETS[ratio["target"]]
            yield f"* **Not reached:** {target.what}. {target.tried or 'What was tried is not written down yet.'}"


def _systems(reports: Sequence[Data]) -> dict[str, Data]:
    return {name: system for data in reports for name, system in data.get("systems", {}).items()}


def _peers(reports: Sequence[Data]) -> Iterator[str]:
    for name, system in _systems(reports).items():
        yield f"| {name} | {system['per_delta']} | {system['per_message']} |"


def _left_out(reports: Sequence[Data]) -> Iterator[str]:
    notes = dict.fromkeys(
        note for data in reports for note in data["notes"] if "measured" in note or "left out" in note
    )
    return (f"* {note}" for note in notes)


def _section(benchmark: Benchmark, data: Data, folder: Path) -> str:
    plots = [_plot(benchmark, data, quantity, folder) for quantity in benchmark.plots if quantity in by_quantity(data)]
    verdicts = [f"* {verdict['text']}" for verdict in data["verdicts"]]
    notes = [f"* {note}" for note in data["notes"]]
    command = f"`python -m benchmarks {benchmark.name}`"
    parts = [
        f"## {data['title']}",
        f"{command}: {benchmark.about()}",
        *plots,
        ratio_table(data),
        *measured_tables(data),
        "\n".join([*notes, *verdicts]),
    ]
    return "\n\n".join(part for part in parts if part)


def _plot(benchmark: Benchmark, data: Data, quantity: str, folder: Path) -> str:
    rows = by_quantity(data)[quantity]
    cases: dict[str, dict[str, Found]] = {}
    for row in rows:
        cases.setdefault(row["case"], {})[row["system"]] = Found(row["median"], row["min"], row["max"])
    title = f"{data['title']}: {quantity} (logarithmic)"
    sizes = {case: float(match[0].replace(",", "")) for case in cases if (match := _NUMBER.search(case))}
    if len(set(sizes.values())) == len(cases) > 2:
        drawing = lines(title, {sizes[case]: series for case, series in cases.items()})
    else:
        drawing = bars(title, cases)
    name = f"{benchmark.name}-{re.sub(r'[^a-z0-9]+', '-', quantity.lower()).strip('-')}.svg"
    (folder / name).write_text(drawing, "utf-8")
    return f"![{title}](performance/{name})"
