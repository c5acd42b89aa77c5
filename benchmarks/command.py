"""`python -m benchmarks`: one command a benchmark, and `all` for the whole suite."""

from __future__ import annotations

import asyncio
from dataclasses import Field, fields
from typing import Any

import click

from benchmarks.all import rewrite_page, run_all
from benchmarks.benchmark import Benchmark, Report
from benchmarks.compare import compare
from benchmarks.report import print_json, print_report, progress
from benchmarks.server import fresh_ground
from benchmarks.suite import SUITE
from turnlog.infrastructure.cli.lazy import ReportingGroup
from turnlog.infrastructure.cli.shared import Seconds


@click.group(cls=ReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure turnlog on this machine, beside its limits and its peers. The user's own data is not touched.

    Each benchmark runs in databases of its own, which are dropped afterwards, on a throw-away embedded Postgres or on
    the server that --database-url names. Nobody else should use that server meanwhile. What is compared takes turns,
    and ratios are of one repeat each: they mean more than the numbers do.
    """


class _Counts(click.ParamType[Any]):
    """A comma list of whole numbers above zero."""

    name = "LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            counts = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            counts = ()
        if not counts or min(counts) < 1:
            self.fail(f"{value!r} is not a comma list of numbers above zero", param, ctx)
        return counts


_TYPES: dict[str, click.ParamType[Any]] = {
    "int": click.IntRange(min=1),
    "float": Seconds(min=0, min_open=True),
    "tuple[int, ...]": _Counts(),
    "str": click.STRING,
}

SERVERS = [
    click.Option(
        ["--database-url"],
        help="Measure on this Postgres, in databases that are made for the run and dropped. Default: a throw-away "
        "embedded one.",
    ),
    click.Option(["--redis-url"], help="The same for Redis. Default: a throw-away embedded Valkey."),
]
AS_JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object.")


def command_of(benchmark: Benchmark) -> click.Command:
    """Its command, with an option for each field of its options."""

    def run(database_url: str | None, redis_url: str | None, as_json: bool, **options: Any) -> None:
        report = measured(benchmark, benchmark.options(**options), database_url, redis_url)
        print_json(report.as_json()) if as_json else print_report(report)
        if not report.verified:
            click.get_current_context().exit(1)

    params = [_option(field) for field in fields(benchmark.options)]
    return click.Command(benchmark.name, callback=run, help=benchmark.help, params=[*params, *SERVERS, AS_JSON])


def measured(benchmark: Benchmark, options: Any, database_url: str | None, redis_url: str | None) -> Report:
    """Runs one benchmark on databases of its own. Raises TurnlogError."""
    with fresh_ground(database_url, redis_url) as ground:
        return asyncio.run(benchmark.measure(options, ground, progress()))


def _option(field: Field[Any]) -> click.Option:
    default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
    return click.Option(
        [f"--{field.name.replace('_', '-')}"],
        type=Seconds(min=0) if field.metadata["zero"] else _TYPES[str(field.type)],
        default=default,
        show_default=True,
        help=field.metadata["help"],
    )


for _benchmark in SUITE:
    bench.add_command(command_of(_benchmark))
bench.add_command(compare)
bench.add_command(run_all)
bench.add_command(rewrite_page)
