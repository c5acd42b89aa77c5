"""Telling: one JSON object or a table on stdout, progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

Progress = Callable[[str], None]


def progress() -> Progress:
    """Says what is going on, on a terminal and nowhere else.

    A line a stage and not a bar that moves: its thread would take part in what is measured.
    """
    console = Console(stderr=True)
    return console.print if console.is_terminal else lambda _: None


def print_json(report: Mapping[str, Any]) -> None:
    """The report as exactly one object."""
    click.echo(json.dumps(report))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The first column is left-aligned; numbers stand to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_note(text: str) -> None:
    """A line of small print."""
    Console(highlight=False).print(text, style="dim")


def print_verdict(good: bool, if_good: str, if_not: str) -> None:
    """The line to look at."""
    Console(highlight=False).print(if_good if good else if_not, style="green" if good else "bold red")


def machine_line(machine: Mapping[str, Any]) -> str:
    """The machine in one line."""
    return (
        f"{machine['cores']} cores, {machine['platform']}, Python {machine['python']}, "
        f"Postgres {machine['postgres']} (fsync {machine['fsync']}, "
        f"synchronous_commit {machine['synchronous_commit']}); client and server share the machine"
    )
