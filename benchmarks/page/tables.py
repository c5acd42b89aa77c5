"""Tables of a report in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.report import by_quantity, number
from benchmarks.targets import TARGETS

Data = Mapping[str, Any]
"""A report as JSON."""


def spread(found: Data) -> str:
    """A median and its range, where there is one."""
    if found["min"] == found["max"]:
        return number(found["median"])
    return f"{number(found['median'])} ({number(found['min'])} to {number(found['max'])})"


def measured_tables(data: Data) -> Iterator[str]:
    """A table a quantity: a row a system, a column a case."""
    for quantity, rows in by_quantity(data).items():
        cases = list(dict.fromkeys(row["case"] for row in rows))
        cells = {(row["system"], row["case"]): spread(row) for row in rows}
        systems = dict.fromkeys(row["system"] for row in rows)
        body = [(system, *(cells.get((system, case), "") for case in cases)) for system in systems]
        yield table((quantity, *cases), body)


def ratio_table(data: Data) -> str:
    """The ratios of a report; empty where it has none."""
    rows = [(ratio["what"], spread(ratio)) for ratio in data["ratios"]]
    return table(("ratio", "measured"), rows) if rows else ""


def target_rows(reports: Iterable[Data]) -> list[str]:
    """A row a promise; what was not measured says so."""
    ratios = {ratio["target"]: ratio for data in reports for ratio in data["ratios"] if "target" in ratio}
    return [_row(target_row(key, ratios.get(key))) for key in TARGETS]


def target_row(key: str, ratio: Data | None) -> tuple[str, ...]:
    """What, promised, measured, reached."""
    target = TARGETS[key]
    promised = f"{target.bound} {target.limit:g}"
    if ratio is None:
        return target.what, promised, "not measured", ""
    return target.what, promised, spread(ratio), "yes" if ratio["reached"] else "**no**"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join([_row(head), "|---" * len(head) + "|", *map(_row, body)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
