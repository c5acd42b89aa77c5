"""`turnlog bench`: one command a benchmark."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from turnlog.infrastructure.bench.append import AppendOptions, measure_append
from turnlog.infrastructure.bench.follow import FollowOptions, measure_follow
from turnlog.infrastructure.bench.memory import MemoryOptions, measure_memory
from turnlog.infrastructure.bench.repair import RepairOptions, measure_repair
from turnlog.infrastructure.bench.report import (
    machine_line,
    print_json,
    print_note,
    print_table,
    print_verdict,
    progress,
)

_COUNT = click.IntRange(min=1)
_DURATION = click.FloatRange(min=0, min_open=True)
_database_url = click.option(
    "--database-url",
    help="Measure on this server, in a database that is made for the run and dropped. "
    "Default: a throw-away embedded Postgres.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def bench() -> None:
    """Measure turnlog on this machine. The user's own data is not touched."""


@bench.command()
@click.option("--sessions", type=_COUNT, default=1_000, show_default=True, help="Concurrent sessions.")
@click.option("--deltas", type=_COUNT, default=200, show_default=True, help="Deltas a session in each repeat.")
@click.option("--seconds", type=_DURATION, default=10.0, show_default=True, help="At most so long in each repeat.")
@click.option("--repeat", type=_COUNT, default=5, show_default=True, help="Repeats of all three, in turn.")
@click.option("--plain-seconds", type=_DURATION, default=2.0, show_default=True, help="How long the peer runs.")
@_database_url
@_as_json
def append(as_json: bool, **options: Any) -> None:
    """Append delta by delta, each durable before the next, beside plain COPY and plain eventsourcing."""
    report = asyncio.run(measure_append(AppendOptions(**options), progress()))
    print_json(report) if as_json else _print_append(report)


@bench.command()
@click.option("--deltas", type=_COUNT, default=1_000_000, show_default=True, help="Deltas in all.")
@click.option("--sessions", type=_COUNT, default=100, show_default=True, help="Concurrent sessions.")
@click.option("--every", type=_COUNT, default=100_000, show_default=True, help="Weigh the process so often.")
@click.option("--at-once", type=_COUNT, default=1, show_default=True, help="Deltas a session has on their way.")
@click.option("--slow-ms", type=click.FloatRange(min=0), default=0.0, help="Hold each commit up by so much.")
@_database_url
@_as_json
def memory(as_json: bool, **options: Any) -> None:
    """Append a million deltas and watch the memory of this process."""
    report = asyncio.run(measure_memory(MemoryOptions(**options), progress()))
    print_json(report) if as_json else _print_memory(report)


@bench.command()
@click.option("--conversations", type=_COUNT, default=10_000, show_default=True, help="Conversations of ten messages.")
@_database_url
@_as_json
def repair(as_json: bool, **options: Any) -> None:
    """Import, diagnose and repair many faulty conversations, and watch the memory of this process."""
    report = asyncio.run(measure_repair(RepairOptions(**options), progress()))
    print_json(report) if as_json else _print_repair(report)


@bench.command()
@click.option("--followers", type=_COUNT, default=1_000, show_default=True, help="Followers of one session.")
@click.option("--deltas", type=_COUNT, default=300, show_default=True, help="Deltas of the answer they follow.")
@click.option("--pace", type=_DURATION, default=60.0, show_default=True, help="Deltas a second.")
@click.option("--redis-url", help="The Redis that wakes. Default: a throw-away embedded one.")
@_database_url
@_as_json
def follow(as_json: bool, **options: Any) -> None:
    """Follow an answer that another process writes, and measure how long each delta takes."""
    report = asyncio.run(measure_follow(FollowOptions(**options), progress()))
    print_json(report) if as_json else _print_follow(report)


def _print_follow(report: dict[str, Any]) -> None:
    rows = [
        (
            f"{case['followers']:,}, woken by {case['woken_by']}",
            *(format(case[name], ".1f") for name in ("p50_ms", "p99_ms")),
            format(case["reads_per_delta"], ".2f"),
        )
        for case in report["cases"]
    ]
    print_table("From durable to follower", ("followers", "p50, ms", "p99, ms", "reads a delta"), rows)
    print_note(f"{report['deltas']} deltas at {report['pace']:g}/s; {machine_line(report['machine'])}")
    good = "verified: every follower got every event once, in order"
    print_verdict(report["verified"], good, "NOT VERIFIED: a follower missed or repeated an event")


def _print_repair(report: dict[str, Any]) -> None:
    rows = [(f"{one['deltas']:,}", f"{one['rss_mb']:.1f}", f"{one['seconds']:.1f}") for one in report["samples"]]
    print_table(f"{report['conversations']:,} conversations", ("repaired", "RSS, MB", "after, s"), rows)
    rates = f"imported {report['imported_per_second']:,.0f}/s, repaired {report['repaired_per_second']:,.0f}/s"
    print_note(f"{rates}, {report['corrections']:,} corrections; {machine_line(report['machine'])}")
    growth = f"{report['growth_mb']:+.1f} MB from the second sample to the last"
    print_verdict(report["flat"], f"flat: {growth}", f"NOT FLAT: {growth}")
    print_verdict(report["verified"], "verified: nothing is left to repair", "NOT VERIFIED: there is still a fault")


_APPEND_ROWS = {
    "events_per_second": ("turnlog, events/s", ",.0f"),
    "copy_rows_per_second": ("COPY alone, rows/s", ",.0f"),
    "plain_events_per_second": ("eventsourcing alone, events/s", ",.0f"),
    "ratio_to_copy": ("turnlog / COPY", ".3f"),
    "ratio_to_plain": ("turnlog / eventsourcing", ".1f"),
    "events_per_commit": ("events in a commit", ",.0f"),
    "ack_p50_ms": ("acknowledged after, median, ms", ".1f"),
    "ack_p99_ms": ("acknowledged after, 99 %, ms", ".1f"),
}


def _print_append(report: dict[str, Any]) -> None:
    rows = [
        (label, *(format(report[key], form) for key in (name, f"{name}_min", f"{name}_max")))
        for name, (label, form) in _APPEND_ROWS.items()
    ]
    print_table(f"{report['sessions']} sessions append delta by delta", ("", "median", "min", "max"), rows)
    _print_outcome(report, f"{report['events']:,} deltas in {report['repeats']} repeats")


def _print_memory(report: dict[str, Any]) -> None:
    rows = [
        (f"{sample['deltas']:,}", f"{sample['rss_mb']:.1f}", f"{sample['seconds']:.1f}") for sample in report["samples"]
    ]
    print_table(f"{report['sessions']} sessions append", ("deltas", "RSS, MB", "after, s"), rows)
    _print_outcome(report, f"{report['events_per_second']:,.0f} events/s")
    growth = f"{report['growth_mb']:+.1f} MB from the second sample to the last"
    print_verdict(report["flat"], f"flat: {growth}", f"NOT FLAT: {growth}")


def _print_outcome(report: dict[str, Any], amount: str) -> None:
    print_note(f"{amount}; {machine_line(report['machine'])}")
    good = "verified: all that was acknowledged is stored, as it was sent"
    print_verdict(report["verified"], good, "NOT VERIFIED: the log does not hold what was acknowledged")
