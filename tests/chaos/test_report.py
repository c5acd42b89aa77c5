"""The table of a run, out of injections that are made up."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.kinds import kinds
from tests.chaos.report import PAGE, as_json, summary, write_page
from tests.chaos.run import Injection, Outcome

INJECTIONS = [
    Injection("postgres-reset", 0, 1.0, []),
    Injection("postgres-reset", 1, 1.0, ["session s: a message is stored 2 times"], seed=7),
    Injection("redis-flushed", 0, 1.0, []),
]


def outcome() -> Outcome:
    return Outcome([7], [*INJECTIONS], acknowledged=90, tried=100, seconds=3.0, at_the_end=["step s is still open"])


def test_runs_at_the_same_time_are_one_table(tmp_path: Path) -> None:
    both = outcome()
    both.add(Outcome([8], [Injection("redis-flushed", 0, 1.0, ["gone"], seed=8)], 5, 6, seconds=4.0))

    assert summary(both) == (
        "seeds 7 to 8: 4 injections of 2 kinds in 4 s, 2 held; 95 of 106 calls were acknowledged; 1 faults at the end"
    )
    assert "seed 8, redis-flushed 0: gone" in both.wrong


def test_the_table_is_written_between_its_marks_and_again_over_itself(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- chaos: begin -->\n<!-- chaos: end -->\nafter\n")
    write_page(outcome(), kinds(), page)
    once = page.read_text()
    write_page(outcome(), kinds(), page)

    assert page.read_text() == once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "| network | every connection to Postgres is reset | 2 | 1 |" in once
    assert "| redis | Redis is emptied | 1 | 1 |" in once
    assert "3 injections of 2 kinds" in once


def test_the_page_has_the_marks() -> None:
    assert "<!-- chaos: begin -->\n" in PAGE.read_text()
    assert "<!-- chaos: end -->" in PAGE.read_text()


def test_what_is_wrong_is_said_with_what_injects_it_again() -> None:
    assert as_json(outcome(), kinds())["wrong"] == [
        "seed 7, postgres-reset 1: session s: a message is stored 2 times",
        "step s is still open",
    ]
