"""Another commit beside this checkout: the same numbers of both, paired."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks.command import bench


@pytest.mark.long
@pytest.mark.servers
def test_a_commit_is_compared_with_the_checkout_number_by_number() -> None:
    arguments = ["compare", "HEAD", "replay", "--visits", "2", "--quick", "--json"]
    found = json.loads(CliRunner().invoke(bench, arguments, catch_exceptions=False).stdout)

    assert found["revision"] == "HEAD"
    rate = next(row for row in found["replay"] if row["what"].endswith("turnlog: events/s"))
    assert rate["here"] > 0
    assert rate["there"] > 0
    assert rate["min"] <= rate["median"] <= rate["max"]
    assert any("against SELECT of the rows" in row["what"] for row in found["replay"])


def test_an_unknown_commit_or_benchmark_is_refused() -> None:
    unknown = CliRunner().invoke(bench, ["compare", "no-such-commit", "replay"])
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "revision: " in unknown.stderr

    unknown = CliRunner().invoke(bench, ["compare", "HEAD", "no-such-benchmark"])
    assert unknown.exit_code == 1
    assert "'no-such-benchmark' is not one of: append" in unknown.stderr
