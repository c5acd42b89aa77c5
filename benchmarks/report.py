"""Telling: one JSON object or tables on stdout, progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.benchmark import Report
from benchmarks.contest import Say

FOUND = ("median", "min", "max")


def progress() -> Say:
    """Says what is going on, on a terminal and nowhere else.

    A line a stage and not a bar that moves: its thread would take part in what is measured.
    """
    console = Console(stderr=True)
    return console.print if console.is_terminal else lambda _: None


def print_json(report: Mapping[str, Any]) -> None:
    """The report as exactly one object."""
    click.echo(json.dumps(report))


def print_report(report: Report) -> None:
    """What was measured, a table a quantity; then the ratios, and what was checked."""
    data = report.as_json()
    Console(highlight=False).print(report.title, style="bold")
    for quantity, rows in by_quantity(data).items():
        _print_table(quantity, ("case", "system"), [((each["case"], each["system"]), each) for each in rows])
    if report.ratios:
        _print_table("ratios, of one repeat each", ("what",), [((each["what"],), each) for each in data["ratios"]])
    for note in [*data["notes"], machine_line(report.machine)]:
        Console(highlight=False).print(note, style="dim")
    for good, text in report.all_verdicts():
        Console(highlight=False).print(text, style="green" if good else "bold red")


def by_quantity(data: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The measured series of a report by what they measure."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in data["series"]:
        found.setdefault(each["quantity"], []).append(each)
    return found


def number(value: float) -> str:
    """Three digits that matter, and thousands set apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine_line(machine: Mapping[str, Any]) -> str:
    """The machine in one line."""
    return (
        f"{machine['cores']} cores, {machine['platform']}, Python {machine['python']}, "
        f"Postgres {machine['postgres']} (fsync {machine['fsync']}, "
        f"synchronous_commit {machine['synchronous_commit']}); client and server share the machine"
    )


def _print_table(title: str, names: Sequence[str], rows: Sequence[tuple[Sequence[str], Mapping[str, Any]]]) -> None:
    """Names to the left, numbers to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in names:
        table.add_column(name)
    for name in FOUND:
        table.add_column(name, justify="right")
    for labels, found in rows:
        table.add_row(*labels, *(number(found[name]) for name in FOUND))
    Console().print(table)
