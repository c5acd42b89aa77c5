"""`python -m benchmarks compare`: another commit and this checkout, in turn, on the same servers.

A change is measured beside what it changed, on one machine and within minutes. Each visit is a process of its own that
runs one benchmark once. Ratios are of this checkout to the commit, visit by visit.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks import CHECKOUT
from benchmarks.benchmark import Benchmark, command_line
from benchmarks.contest import Say
from benchmarks.measuring import Spread, ratios
from benchmarks.report import FOUND, number, print_json, progress
from benchmarks.server import throw_away_servers
from benchmarks.suite import benchmarks_named
from turnlog.domain.errors import InvalidInputError

OURS = "turnlog"


class Compared(NamedTuple):
    """One quantity of one benchmark in both commits: samples of paired visits."""

    what: str
    here: list[float]
    there: list[float]

    def as_json(self) -> dict[str, Any]:
        """Medians, and the spread of the ratio."""
        return {
            "what": self.what,
            "here": Spread.of(self.here).median,
            "there": Spread.of(self.there).median,
            **Spread.of(ratios(self.here, self.there)).as_json(),
        }


@click.command("compare")
@click.argument("revision", metavar="REVISION")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--visits", type=click.IntRange(min=1), default=3, show_default=True, help="Of each of the two.")
@click.option("--quick", is_flag=True, help="With the options of a short run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(revision: str, names: Sequence[str], visits: int, quick: bool, as_json: bool) -> None:
    """Run benchmarks of another commit and of this checkout in turn, and print the ratios.

    REVISION is any commit that git knows; NAME is a benchmark. Both use the packages that are installed here.
    """
    say, found = progress(), dict[str, list[Compared]]()
    chosen = benchmarks_named(names)
    with _checked_out(revision) as there, throw_away_servers() as servers:
        urls = command_line({"database_url": servers.database_url, "redis_url": servers.redis_url})
        for benchmark in chosen:
            arguments = [*_arguments(benchmark, quick), *urls]
            found[benchmark.name] = _compared(benchmark, there, arguments, visits, say)
    if as_json:
        print_json({"revision": revision, **{name: [each.as_json() for each in rows] for name, rows in found.items()}})
        return
    for name, rows in found.items():
        _print(f"{name}: this checkout against {revision}", rows)


@contextmanager
def _checked_out(revision: str) -> Iterator[Path]:
    """The files of the commit, in a folder that goes again. Raises InvalidInputError where git has no such commit."""
    done = subprocess.run(["git", "archive", revision], cwd=CHECKOUT, capture_output=True, check=False)  # noqa: S603, S607 git
    if done.returncode:
        raise InvalidInputError("revision", done.stderr.decode(errors="replace").strip())
    with tempfile.TemporaryDirectory(prefix="turnlog-compare-") as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def _arguments(benchmark: Benchmark, quick: bool) -> list[str]:
    options = dict(benchmark.quick) if quick else {}
    if any(field.name == "repeat" for field in fields(benchmark.options)):
        options["repeat"] = 1
    if any(field.name == "peers" for field in fields(benchmark.options)):
        options["peers"] = "none"
    return command_line(options)


def _compared(benchmark: Benchmark, there: Path, arguments: Sequence[str], visits: int, say: Say) -> list[Compared]:
    reports: dict[Path, list[dict[str, float]]] = {CHECKOUT: [], there: []}
    for visit in range(visits):
        for folder in (CHECKOUT, there) if visit % 2 else (there, CHECKOUT):
            whose = "this checkout" if folder == CHECKOUT else "the commit"
            say(f"{benchmark.name}, visit {visit + 1} of {visits}: {whose}")
            reports[folder].append(_numbers(_run(folder, benchmark.name, arguments)))
    here, other = reports[CHECKOUT], reports[there]
    shared = [what for what in here[0] if all(what in numbers for numbers in (*here, *other))]
    return [Compared(what, [one[what] for one in here], [one[what] for one in other]) for what in shared]


def _run(folder: Path, name: str, arguments: Sequence[str]) -> Mapping[str, Any]:
    # Before they had a folder of their own the benchmarks were a command of turnlog.
    module = ["benchmarks"] if (folder / "benchmarks").is_dir() else ["turnlog", "bench"]
    command = [sys.executable, "-m", *module, name, "--json", *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 our own
    report: Mapping[str, Any] = json.loads(done.stdout)
    return report


def _numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """What the report says of turnlog: the medians of its series, and of its ratios to limits and peers."""
    series = (each for each in report["series"] if each["system"].startswith(OURS))
    found = {f"{each['case']}, {each['system']}: {each['quantity']}": each["median"] for each in series}
    return {**found, **{f"{each['what']} (a ratio)": each["median"] for each in report["ratios"]}}


def _print(title: str, rows: Sequence[Compared]) -> None:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("what")
    for name in ("here", "there", *(f"ratio, {each}" for each in FOUND)):
        table.add_column(name, justify="right")
    for row in rows:
        found = row.as_json()
        table.add_row(row.what, *(number(found[name]) for name in ("here", "there", *FOUND)))
    Console().print(table)
