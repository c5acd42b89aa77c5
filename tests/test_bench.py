"""The benchmarks run, count honestly, and say it in the promised shape. What they measure is not tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from turnlog.infrastructure.bench.command import bench
from turnlog.infrastructure.bench.measuring import Spread, percentile, ratios, resident_bytes
from turnlog.infrastructure.bench.memory import Sample, verdict
from turnlog.infrastructure.bench.workload import Workload
from turnlog.infrastructure.settings import Settings

APPEND = ["append", "--sessions", "20", "--deltas", "10", "--seconds", "5", "--repeat", "2", "--plain-seconds", "0.2"]
TURN = ["turn", "--streams", "1,3", "--deltas", "20", "--repeat", "1", "--peers", "eventsourcing,replaced"]
MEMORY = ["memory", "--sessions", "10", "--deltas", "400", "--every", "100"]


FLOORS = ["bare INSERT", "bare group commit"]


def run(settings: Settings, *arguments: str) -> str:
    servers = ["--database-url", settings.database_url or "", "--redis-url", settings.redis_url or ""]
    result = CliRunner().invoke(bench, [*arguments, *servers], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def databases(settings: Settings) -> set[str]:
    with psycopg.connect(settings.database_url or "") as connection:
        return {name for (name,) in connection.execute("select datname from pg_database").fetchall()}


def test_append_reports_one_object_with_verified_numbers(settings: Settings) -> None:
    report: dict[str, Any] = json.loads(run(settings, *APPEND, "--json"))
    assert report["verified"] is True
    assert (report["sessions"], report["repeats"], report["events"]) == (20, 2, 400)
    for name in ("events_per_second", "ratio_to_copy", "ratio_to_plain", "ack_p50_ms", "ack_p99_ms"):
        assert 0 < report[f"{name}_min"] <= report[name] <= report[f"{name}_max"]
    for name in ("copy_rows_per_second", "plain_events_per_second", "events_per_commit"):
        assert report[name] > 0
    assert report["machine"]["fsync"] in {"on", "off"}


def test_append_prints_a_table_without_colours_where_there_is_no_terminal(settings: Settings) -> None:
    printed = run(settings, *APPEND)
    assert "turnlog against COPY of the same rows" in printed
    assert "verified" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("more", [(), ("--slow-ms", "5", "--at-once", "20")], ids=["plain", "slow"])
def test_memory_weighs_the_process_at_every_mark(settings: Settings, more: tuple[str, ...]) -> None:
    report: dict[str, Any] = json.loads(run(settings, *MEMORY, *more, "--json"))
    assert report["verified"] is True
    assert [sample["deltas"] for sample in report["samples"]] == [100, 200, 300, 400]
    assert all(sample["rss_mb"] > 0 for sample in report["samples"])
    assert isinstance(report["flat"], bool)


def test_memory_prints_its_verdict(settings: Settings) -> None:
    assert "from the second sample to the last" in run(settings, *MEMORY)


def test_repair_leaves_nothing_to_repair(settings: Settings) -> None:
    report = json.loads(run(settings, "repair", "--conversations", "20", "--json"))
    assert (report["verified"], report["conversations"]) == (True, 20)


def test_turn_measures_every_system_in_every_case(settings: Settings) -> None:
    report = json.loads(run(settings, *TURN, "--json"))
    assert (report["verified"], report["notes"]) == (True, [])
    rates = {(each["case"], each["system"]): each for each in report["series"] if each["quantity"] == "deltas/s"}
    systems = ["turnlog, record()", "turnlog", *FLOORS, "eventsourcing", "replaced pattern"]
    assert list(rates) == [(case, system) for case in ("1 stream at once", "3 streams at once") for system in systems]
    assert all(0 < each["min"] <= each["median"] <= each["max"] for each in rates.values())
    assert {ratio.get("target") for ratio in report["ratios"]} == {None, "turn-single"}


def test_nothing_is_left_on_the_server(settings: Settings) -> None:
    before = databases(settings)
    run(settings, *MEMORY, "--json")
    assert databases(settings) == before


def test_without_a_url_the_server_is_a_throw_away_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNLOG_DATA_DIR", str(tmp_path / "untouched"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@/nothing?host=/nowhere")
    result = CliRunner().invoke(bench, [*MEMORY, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["verified"] is True
    assert not (tmp_path / "untouched").exists()


def test_growth_counts_from_the_second_sample() -> None:
    def samples(*sizes: float) -> list[Sample]:
        return [Sample(number, size, float(number)) for number, size in enumerate(sizes, 1)]

    assert verdict(samples(10, 100, 114))["flat"] is True
    assert verdict(samples(100, 100, 116))["flat"] is False
    assert verdict(samples(100))["growth_mb"] == 0


def test_the_workload_is_the_same_in_every_run_and_about_five_characters_a_delta() -> None:
    text = Workload().text(3, 0, 10_000)
    assert text == Workload().text(3, 0, 10_000)
    assert 4 < len(text) / 10_000 < 7


def test_measures() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]
    assert percentile([1.0, 2.0, 3.0, 4.0], 99) == 4.0
    assert resident_bytes() > 1_000_000
