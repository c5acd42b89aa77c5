"""The benchmarks run, count honestly, and say it in the promised shape. What they measure is not tested."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner

from benchmarks.command import bench
from benchmarks.loops import PEERS as LOOPS
from benchmarks.measuring import Spread, percentile, ratios, resident_bytes
from benchmarks.memory import Sample, verdict
from benchmarks.peers import PEERS as PEER_CLASSES
from benchmarks.peers.replaced import Replaced
from benchmarks.suite import SUITE
from benchmarks.systems import Conversation
from benchmarks.workload import Workload
from tests.support.database import rows
from turnlog.infrastructure.settings import Settings

APPEND = ["append", "--sessions", "20", "--deltas", "10", "--seconds", "5", "--repeat", "2", "--plain-seconds", "0.2"]
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
    printed = run(settings, *APPEND, "--repeat", "1", "--sessions", "3", "--plain-seconds", "0.05")
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
    assert "from the second sample to the last" in run(settings, *MEMORY, "--sessions", "2", "--deltas", "200")


def test_repair_leaves_nothing_to_repair(settings: Settings) -> None:
    report = json.loads(run(settings, "repair", "--conversations", "20", "--json"))
    assert (report["verified"], report["conversations"]) == (True, 20)


def test_row_security_is_compared_with_none_and_leaves_no_role_on_the_server(settings: Settings) -> None:
    options = "--sessions 5 --deltas 10 --own 2 --seconds 0.02 --repeat 1"
    report = json.loads(run(settings, "row-security", *options.split(), "--json"))
    assert report["verified"] is True
    assert {each["system"] for each in report["series"]} == {"with row-level security", "without"}
    assert len(report["ratios"]) == 5
    assert rows(settings, "select from pg_roles where rolname like 'turnlog_bench%'") == []


PEERS = ["eventsourcing", "replaced pattern"]
OURS = ["turnlog, record()", "turnlog, record() of Responses", "turnlog, record() of Messages", "turnlog"]
READS = [f"turnlog {what}, {state}" for state in ("hot", "stale", "cold") for what in ("view", "prompt")]
READS.append("turnlog prompt, remembered")
PROCESSES = ["1 process", "2 processes"]

CALLS = ("open and say", "say", "record", "window", "live page", "turns(limit=20)")
FIRST_CALLS = ("open and say", "the end", "the whole view")
LONG_SESSIONS = [f"{call}, turn {turns}" for call in CALLS for turns in (3, 6)]
LONG_SESSIONS += [f"{call}, for the first time, {turns} turns" for call in FIRST_CALLS for turns in (3, 6)]

SMALL = {
    "turn": ("--streams 1,3 --deltas 20 --repeat 1 --peers eventsourcing,replaced", "deltas/s"),
    "answer": ("--at-once 2 --chunks 5 --pace 1 --repeat 1 --peers none", "client CPU, ms a turn"),
    "read": ("--messages 2,10 --seconds 0.02 --repeat 1 --peers eventsourcing,replaced", "ms"),
    "growth": ("--turns 3,6 --peer-turns 3 --deltas 5 --repeat 2 --peers eventsourcing,replaced", "statements"),
    "long_session": ("--turns 3,6 --deltas 2 --max-tokens 400 --times 1 --repeat 1", "CPU, ms"),
    "storage": ("--deltas 30 --answers 2 --repeat 1 --peers eventsourcing,replaced", "WAL bytes a delta"),
    "replay": ("--deltas 70 --answer 30 --repeat 2", "events/s"),
    "latency": ("--load 400 --sessions 5 --seconds 0.5 --repeat 1", "background, events/s"),
    "follow": ("--followers 20 --deltas 20 --pace 100 --repeat 1", "reads a delta"),
    "writers": ("--processes 1,2 --sessions 4,8 --handlers 2 --seconds 0.3 --repeat 1", "events/s"),
}
"""By benchmark: options that take a second or two, and a quantity that each system has."""

FOUND = {
    "turn": {case: [*OURS, *FLOORS, *PEERS] for case in ("1 stream at once", "3 streams at once")},
    "answer": {
        case: ["turnlog, answer() awaited", "turnlog, answer() iterated", "loop without a log"]
        for case in ("at full speed", "a chunk every 1 ms")
    },
    "read": {case: [*READS, "GET and parse", *PEERS] for case in ("2 messages", "10 messages")},
    "growth": {
        "turn 3": ["turnlog", "turnlog, whole answers", "bare INSERT", *PEERS],
        "turn 6": ["turnlog", "bare INSERT"],
    },
    "long_session": {case: ["turnlog"] for case in LONG_SESSIONS},
    "storage": {"one stream after the other": ["turnlog", "bare INSERT", *PEERS]},
    "replay": {
        "70 deltas": ["turnlog", "SELECT of the rows", "SELECT of all columns", "SELECT of the bodies alone"],
    },
    "latency": {"beside 400 events/s": ["turnlog", "bare INSERT and COMMIT"]},
    "follow": {
        "1 follower": ["woken by Redis", "woken by Postgres"],
        "20 followers": ["woken by Redis", "woken by Postgres"],
    },
    "writers": {"4 streams": PROCESSES, "8 streams": PROCESSES, "one session for all": PROCESSES},
}


LONG = {"read", "turn", "growth", "answer", "follow", "writers", "long_session"}
"""They take long, however little they measure. What all of them share, the others show."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in SMALL])
def test_a_benchmark_measures_every_system_and_finds_all_that_was_stored(name: str, settings: Settings) -> None:
    options, quantity = SMALL[name]
    report = json.loads(run(settings, name, *options.split(), "--json"))

    assert report["verified"] is True
    assert [note for note in report["notes"] if "left out" in note or "not measured" in note] == []
    found: dict[str, set[str]] = {}
    for each in report["series"]:
        assert each["min"] <= each["median"] <= each["max"]
        if each["quantity"] == quantity:
            found.setdefault(each["case"], set()).add(each["system"])
            assert each["min"] > 0
    assert found == {case: set(systems) for case, systems in FOUND[name].items()}
    assert all(ratio["min"] <= ratio["median"] <= ratio["max"] for ratio in report["ratios"])
    assert report["ratios"]
    if name == "growth":
        check_the_same_is_counted_for_the_same_work(report)


def check_the_same_is_counted_for_the_same_work(report: dict[str, Any]) -> None:
    counted = {
        (each["case"], each["quantity"]): (each["min"], each["max"])
        for each in report["series"]
        if each["system"] == "bare INSERT" and each["quantity"] in ("statements", "rows read")
    }
    # Where the session ends, the question, five deltas and the end; the end is found by one row of an index.
    assert counted["turn 3", "statements"] == counted["turn 6", "statements"] == (8, 8)
    assert counted["turn 3", "rows read"] == counted["turn 6", "rows read"] == (1, 1)


class Forgetful(Replaced):
    """Loses what it was told last."""

    name = "forgetful"

    def conversation(self, session_id: UUID) -> Conversation:
        conversation = super().conversation(session_id)
        put_delta, told = conversation.put_delta, iter(range(100_000))

        async def forget(text: str) -> None:
            if next(told) != 7:
                await put_delta(text)

        conversation.put_delta = forget  # type: ignore[method-assign]
        return conversation


def test_a_system_that_loses_a_delta_is_found_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEER_CLASSES, "replaced", f"{__name__}:Forgetful")
    servers = ["--database-url", settings.database_url or "", "--redis-url", settings.redis_url or ""]
    options = "--streams 1 --deltas 20 --repeat 1 --peers replaced"
    result = CliRunner().invoke(bench, ["turn", *options.split(), *servers])
    assert result.exit_code == 1
    assert "NOT VERIFIED" in result.stdout


def test_a_peer_that_fails_is_left_out_and_the_others_are_measured(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Replaced) -> None:
        raise OSError("out of order")

    monkeypatch.setattr(Replaced, "start", fail)
    options = "--streams 1 --deltas 20 --repeat 1 --peers eventsourcing,replaced"
    report = json.loads(run(settings, "turn", *options.split(), "--json"))
    left_out = [note for note in report["notes"] if "left out" in note]
    assert left_out == ["replaced pattern is left out of 1 stream at once: OSError: out of order"]
    assert {each["system"] for each in report["series"]} == {*OURS, *FLOORS, "eventsourcing"}


def test_an_unknown_peer_is_refused(settings: Settings) -> None:
    result = CliRunner().invoke(bench, ["turn", "--peers", "mysql", "--database-url", settings.database_url or ""])
    assert result.exit_code == 1
    assert "'mysql' is not one of: langgraph" in result.stderr


def test_all_runs_what_it_is_told_and_writes_the_page(settings: Settings, tmp_path: Path) -> None:
    options = ["--quick", "--only", "replay", "--report", "--into", str(tmp_path), "--json"]
    whole = json.loads(run(settings, "all", *options))
    assert ([report["benchmark"] for report in whole["reports"]], whole["failed"]) == (["replay"], [])
    page = (tmp_path / "performance.md").read_text("utf-8")
    assert "turnlog against SELECT of the rows" in page
    (tmp_path / "performance.md").unlink()
    CliRunner().invoke(bench, ["page", "--into", str(tmp_path)], catch_exceptions=False)
    assert (tmp_path / "performance.md").read_text("utf-8") == page


def test_every_benchmark_has_help_and_is_named_in_the_page_on_measuring() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "measure.md").read_text("utf-8")
    for benchmark in SUITE:
        assert f"python -m benchmarks {benchmark.name}" in page
        help_text = CliRunner().invoke(bench, [benchmark.name, "--help"], catch_exceptions=False).output
        assert benchmark.help in " ".join(help_text.split())
        assert set(benchmark.quick) <= {field.name for field in fields(benchmark.options)}


def test_nothing_is_left_on_the_server(settings: Settings) -> None:
    before = databases(settings)
    run(settings, *MEMORY, "--json")
    assert databases(settings) == before


@pytest.mark.servers
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


def test_the_workload_is_the_same_in_every_run() -> None:
    text = Workload().text(3, 0, 10_000)
    assert text == Workload().text(3, 0, 10_000)
    assert 4 < len(text) / 10_000 < 7


def test_measures() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]
    assert percentile([1.0, 2.0, 3.0, 4.0], 99) == 4.0
    assert resident_bytes() > 1_000_000


@pytest.mark.filterwarnings("ignore")  # what other people's packages warn of is not ours to mend
@pytest.mark.parametrize("peer", LOOPS)
def test_a_peer_answers_with_tools_as_turnlog_does(peer: str, settings: Settings) -> None:
    report = json.loads(run(settings, "answer", *f"--at-once 2 --pace 0 --repeat 1 --peers {peer}".split(), "--json"))
    assert report["verified"] is True
    missing = [note for note in report["notes"] if "not measured" in note]
    if missing:
        pytest.skip(f"needs the group `bench`: {missing}")
    assert report["notes"] == []
    assert len({each["system"] for each in report["series"]}) == 4
