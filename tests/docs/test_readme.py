"""The README: short, with a whole program, and with numbers that were measured."""

from __future__ import annotations

import re

import pytest

from tests.support.pages import README, ROOT, blocks


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150


def test_the_readme_begins_with_a_whole_program() -> None:
    assert "asyncio.run(" in blocks(README, "python")[0].code


def test_the_program_prints_offline_what_the_readme_says(environment: None, capsys: pytest.CaptureFixture[str]) -> None:
    (said,) = re.findall(r"^python weather\.py +# (.+)$", README.read_text("utf-8"), re.MULTILINE)

    exec(blocks(README, "python")[0].code, {"__name__": "__main__"})

    assert capsys.readouterr().out == f"{said}\n"


def test_the_readme_has_the_numbers_of_the_page_on_performance() -> None:
    measured = re.findall(
        r"\| ([\d.,]+) \([\d.,]+ to [\d.,]+\) \|", (ROOT / "docs" / "performance.md").read_text("utf-8")
    )
    _, table = README.read_text("utf-8").split("| Ratio |")
    ratios = re.findall(r"\| ([\d.]+) \|$", table, re.MULTILINE)

    assert len(ratios) > 5
    assert [ratio for ratio in ratios if not any(_rounds_to(value, ratio) for value in measured)] == []


def _rounds_to(value: str, ratio: str) -> bool:
    return f"{float(value.replace(',', '')):.{len(ratio.partition('.')[2])}f}" == ratio
