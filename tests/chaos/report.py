"""The table of a run: on the screen, and in docs/reliability.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.kinds import Kind
from tests.chaos.run import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_BETWEEN = re.compile(r"(<!-- chaos: begin -->\n).*(<!-- chaos: end -->)", re.DOTALL)


def rows(outcome: Outcome, known: Mapping[str, Kind]) -> list[tuple[Kind, int, int]]:
    """Each kind, how often it was injected, and how often everything held."""
    injected = Counter(one.kind for one in outcome.injections)
    held = Counter(one.kind for one in outcome.injections if one.held)
    return [(kind, injected[name], held[name]) for name, kind in known.items() if injected[name]]


def print_table(console: Console, outcome: Outcome, known: Mapping[str, Kind]) -> None:
    """Prints the table, and what was wrong."""
    table = Table(box=None)
    for column in ("group", "fault", "injected", "held", "what happens"):
        table.add_column(column, justify="right" if column in ("injected", "held") else "left")
    for kind, injected, held in rows(outcome, known):
        style = "" if injected == held else "red"
        table.add_row(kind.group, kind.name, f"{injected:,}", f"{held:,}", kind.says, style=style)
    console.print(table)
    for what in outcome.wrong[:60]:
        console.print(what, style="red", markup=False, highlight=False)
    console.print(summary(outcome), style="bold")


def summary(outcome: Outcome) -> str:
    """The run in one line."""
    held = sum(one.held for one in outcome.injections)
    kinds = len({one.kind for one in outcome.injections})
    return (
        f"{_seeds(outcome.seeds)}: {len(outcome.injections):,} injections of {kinds} kinds in {outcome.seconds:,.0f} s,"
        f" {held:,} held; {outcome.acknowledged:,} of {outcome.tried:,} calls were acknowledged;"
        f" {len(outcome.at_the_end):,} faults at the end"
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {min(seeds)} to {max(seeds)}"


def as_json(outcome: Outcome, known: Mapping[str, Kind]) -> dict[str, Any]:
    """The run as JSON."""
    return {
        "seeds": outcome.seeds,
        "seconds": round(outcome.seconds, 1),
        "acknowledged": outcome.acknowledged,
        "tried": outcome.tried,
        "kinds": [
            {"kind": kind.name, "group": kind.group, "injected": injected, "held": held, "says": kind.says}
            for kind, injected, held in rows(outcome, known)
        ],
        "wrong": outcome.wrong,
    }


def write_page(outcome: Outcome, known: Mapping[str, Kind], page: Path = PAGE) -> None:
    """Writes the table into the page, between its marks."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [f"{day}, {summary(outcome)}.", "", "| group | fault | injected | held |", "| --- | --- | ---: | ---: |"]
    lines += [
        f"| {kind.group} | {kind.says} | {injected:,} | {held:,} |" for kind, injected, held in rows(outcome, known)
    ]
    text = "\n".join(lines)
    page.write_text(_BETWEEN.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page.read_text("utf-8")), "utf-8")
