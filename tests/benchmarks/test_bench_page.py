"""The shape that comparisons share, and the page that is made of them, out of figures that are made up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psycopg
import pytest

from benchmarks.benchmark import Report
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, interleaved
from benchmarks.page.write import write_page
from benchmarks.read import READ
from benchmarks.targets import TARGETS
from benchmarks.turn import TURN
from benchmarks.wire import StatementCounter
from turnlog.infrastructure.settings import Settings

MACHINE = {
    "cores": 2,
    "python": "3.11.7",
    "platform": "Linux",
    "postgres": "18.6",
    "fsync": "on",
    "synchronous_commit": "on",
}


def note(name: str, visits: list[str], number: float = 1.0) -> Callable[[], Awaitable[Numbers]]:
    async def run() -> Numbers:
        visits.append(name)
        return {"events/s": number * len(visits)}

    return run


async def test_each_repeat_visits_every_entry_once_and_not_always_in_one_order() -> None:
    visits: list[str] = []
    names = ["a", "b", "c"]
    samples = await interleaved([Entry("case", name, note(name, visits)) for name in names], 3, lambda _: None)
    repeats = [visits[:3], visits[3:6], visits[6:]]
    assert [sorted(repeat) for repeat in repeats] == [names] * 3
    assert len({tuple(repeat) for repeat in repeats}) == 3
    assert {len(found) for found in samples.by_key.values()} == {3}


async def test_what_is_not_a_peer_may_not_fail() -> None:
    async def fail() -> Numbers:
        raise OSError("gone")

    entries = [Entry("case", "peer", fail, is_peer=True), Entry("case", "ours", note("ours", []))]
    samples = await interleaved(entries, 2, lambda _: None)
    assert samples.systems("case") == ["ours"]
    assert samples.failed == {("case", "peer"): "OSError: gone"}
    with pytest.raises(OSError, match="gone"):
        await interleaved([Entry("case", "ours", fail)], 1, lambda _: None)


def test_ratios_are_taken_within_a_repeat() -> None:
    samples = Samples()
    for ours, theirs in ((10.0, 5.0), (1.0, 1.0), (30.0, 10.0)):
        samples.add("case", "ours", {"ms": ours})
        samples.add("case", "theirs", {"ms": theirs})
    ratio = samples.ratio("ours against theirs", Key("case", "ours", "ms"), Key("case", "theirs", "ms"))
    assert ratio.samples == [2.0, 1.0, 3.0]
    assert samples.best("case", ["ours", "theirs", "nobody"], "ms", most=False) == "theirs"
    assert samples.best("case", ["nobody"], "ms", most=True) is None


@pytest.mark.parametrize(("bound", "reached"), [("at least", (False, True, True)), ("at most", (True, True, False))])
def test_a_target_is_reached_at_its_limit(bound: str, reached: tuple[bool, ...]) -> None:
    target = next(target for target in TARGETS.values() if target.bound == bound)
    ratios = (target.limit * 0.9, target.limit, target.limit * 1.1)
    assert tuple(map(target.is_reached, ratios)) == reached


@pytest.mark.parametrize("text_or_binary", [False, True])
def test_the_proxy_counts_each_statement_and_changes_nothing(settings: Settings, text_or_binary: bool) -> None:
    with StatementCounter(settings.database_url or "") as wire:
        with psycopg.connect(wire.url, autocommit=True) as connection:
            rows = [connection.execute("select %s::int", (n,), binary=text_or_binary).fetchone() for n in range(7)]
            large = connection.execute("select repeat('x', 1000000)").fetchone()
        assert rows == [(n,) for n in range(7)]
        assert large == ("x" * 1_000_000,)
        assert wire.statements == 8


def report(name: str, figures: dict[tuple[str, str, str], list[float]], **more: Any) -> dict[str, Any]:
    samples = Samples({Key(*key): numbers for key, numbers in figures.items()})
    found = {"title": f"About {name}", "options": {}, "verified": True, "checked": "it is there", "machine": MACHINE}
    return Report(benchmark=name, samples=samples, **{**found, **more}).as_json()


def systems(*peers: str) -> dict[str, Any]:
    durable = {"per_delta": "its row", "per_message": "the same", "saves_deltas": True}
    return {"systems": {name: {**durable, "is_peer": name in peers} for name in ("turnlog", *peers)}}


@pytest.fixture
def page(tmp_path: Path) -> str:
    sizes = {"10 messages": 1.0, "100 messages": 2.0, "1,000 messages": 30.0}
    read = report(
        "read",
        {
            **{(case, "turnlog prompt, hot", "ms"): [ms, ms, 2 * ms] for case, ms in sizes.items()},
            **{(case, "replaced pattern", "ms"): [4.0, 4.0, 4.0] for case in sizes},
        },
        ratios=[Ratio("against GET", [1.0, 1.2, 9.0], "read-get"), Ratio("against it", [0.2], "read-replaced")],
        notes=["google-adk is not measured: google is not installed"],
        more=systems("replaced pattern"),
    )
    turn = report("turn", {("1 stream at once", name, "deltas/s"): [5.0] for name in ("turnlog", "<peer> & co")})
    run = {"quick": True, "packages": {"psycopg": "3"}, "reports": [read, turn], "failed": ["growth could not be"]}
    return write_page(run, [READ, TURN], tmp_path).read_text("utf-8")


def test_the_page_holds_each_promise_against_what_was_measured(page: str) -> None:
    rows = [line for line in page.splitlines() if line.startswith("|")]
    promised = [line for line in rows if line.split("|")[1].strip() in {target.what for target in TARGETS.values()}]
    assert len(promised) == len(TARGETS)
    assert sum("not measured" in line for line in promised) == len(TARGETS) - 2
    assert next(line for line in promised if "GET" in line).endswith("| at most 1.5 | 1.2 (1 to 9) | yes |")
    assert next(line for line in promised if "cache hit" in line).endswith("| at least 4 | 0.2 | **no** |")
    assert "**Not reached:** a hot prompt of 1000 messages, in a process that has read it before" in page


def test_the_page_says_where_a_peer_wins_and_who_is_missing(page: str) -> None:
    assert "* `read`, **replaced pattern**: ms (1,000 messages). Its cache hit is one GET" in page
    assert "* google-adk is not measured: google is not installed" in page
    assert "* growth could not be" in page
    assert "do not quote it" in page
    assert "{{" not in page


def test_the_plots_are_drawings_that_show_every_system(page: str, tmp_path: Path) -> None:
    lines = ET.parse(tmp_path / "performance" / "read-ms.svg").getroot()
    bars = ET.parse(tmp_path / "performance" / "turn-deltas-s.svg").getroot()
    assert {"turnlog prompt, hot", "replaced pattern"} <= {element.text for element in lines.iter()}
    assert {"turnlog", "<peer> & co", "1 stream at once"} <= {element.text for element in bars.iter()}
    assert sum(element.tag.endswith("polyline") for element in lines.iter()) == 2
    for plot in ("read-ms", "turn-deltas-s"):
        assert f"(performance/{plot}.svg)" in page
