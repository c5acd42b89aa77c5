"""`all`: every benchmark, each in a process of its own, so that none finds what another has left in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from benchmarks import CHECKOUT
from benchmarks.benchmark import Benchmark, command_line
from benchmarks.contest import Say
from benchmarks.page.write import FIGURES, write_page
from benchmarks.report import print_json, progress
from benchmarks.suite import SUITE, benchmarks_named

_PACKAGES = (
    "turnlog", "psycopg", "redis", "pydantic", "eventsourcing", "langgraph-checkpoint-postgres", "langchain-postgres",
    "openai", "openai-agents", "pydantic-ai-slim", "google-adk", "sqlalchemy", "asyncpg", "orjson",
)  # fmt: skip


@click.command("all")
@click.option("--quick", is_flag=True, help="A few minutes, with fewer and shorter visits. Do not quote it.")
@click.option("--only", help="Only these benchmarks, a comma list.")
@click.option("--report", "as_page", is_flag=True, help="Write performance.md and its plots.")
@click.option(
    "--into", type=click.Path(path_type=Path), default=Path("docs"), show_default=True, help="Where --report writes."
)
@click.option("--database-url", help="As for each benchmark.")
@click.option("--redis-url", help="As for each benchmark.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run_all(quick: bool, only: str | None, as_page: bool, into: Path, as_json: bool, **servers: str | None) -> None:
    """Run the whole suite; --report writes docs/performance.md.

    It takes half an hour or less. What is missing of the peers is said.
    """
    say = progress()
    found, failed = list[dict[str, Any]](), list[str]()
    for benchmark in benchmarks_named(only.split(",")) if only else SUITE:
        say(f"== {benchmark.name}")
        report = _run(benchmark, benchmark.quick if quick else {}, servers, say)
        found.append(report) if report else failed.append(f"{benchmark.name} could not be measured")
    run = {"quick": quick, "packages": _packages(), "reports": found, "failed": failed}
    if as_page:
        click.echo(f"wrote {write_page(run, SUITE, into)}", err=as_json)
    if as_json:
        print_json(run)
    elif not as_page:
        for report in found:
            _summarise(report)
    if failed or not all(report["verified"] for report in found):
        click.echo("; ".join(failed) or "NOT VERIFIED: see the reports", err=True)
        click.get_current_context().exit(1)


@click.command("page")
@click.option(
    "--into", type=click.Path(path_type=Path), default=Path("docs"), show_default=True, help="Where the page is."
)
def rewrite_page(into: Path) -> None:
    """Write the page anew from the figures beside it.

    For when only its words have changed: nothing is measured.
    """
    figures = into / "performance" / FIGURES
    if not figures.exists():
        raise click.UsageError(f"{figures} is not there: `python -m benchmarks all --report` writes it.")
    run = json.loads(figures.read_text("utf-8"))
    click.echo(f"wrote {write_page(run, SUITE, into)}")


def _run(
    benchmark: Benchmark, options: Mapping[str, Any], servers: Mapping[str, str | None], say: Say
) -> dict[str, Any] | None:
    """Its report; None where it failed, and then it has said why on stderr."""
    given = {**options, **{name: url for name, url in servers.items() if url}}
    command = [sys.executable, "-m", "benchmarks", benchmark.name, "--json", *command_line(given)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=CHECKOUT)  # noqa: S603 our own
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        say(f"{benchmark.name} failed with exit code {done.returncode}")
        return None
    return report


def _packages() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _summarise(report: Mapping[str, Any]) -> None:
    click.echo(f"\n{report['title']}")
    for ratio in report["ratios"]:
        verdict = {True: "  reached", False: "  NOT REACHED"}.get(ratio.get("reached"), "")
        click.echo(f"  {ratio['what']}: {ratio['median']:.3g} ({ratio['min']:.3g} to {ratio['max']:.3g}){verdict}")
    for each in report["verdicts"]:
        click.echo(f"  {each['text']}")
