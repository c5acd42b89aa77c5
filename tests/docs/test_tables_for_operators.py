"""The tables for operators: each row names the tests that show it, and no error, finding or line is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import ROOT, name_of
from turnlog.domain import errors
from turnlog.infrastructure.redis_refusals import _OF_A_KIND, _OF_ALL

HOW_TO = ROOT / "docs" / "how-to"
TROUBLESHOOT = HOW_TO / "troubleshoot.md"
PAGES = [HOW_TO / f"{name}.md" for name in ("deploy", "operate", "back-up", "troubleshoot")]
SECURITY = ROOT / "SECURITY.md"


def rows(text: str) -> Iterator[str]:
    """The rows of the tables in a text, without their heads, and without those of figures that were measured."""
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        is_head = line.startswith("|--") or following.startswith("|--")
        if line.startswith("|") and not is_head and not re.search(r"\| [\d.]+( and [\d.]+)? \|$", line):
            yield line


def named_in(row: str) -> list[str]:
    return [name.strip() for listed in re.findall(r"<!-- (test_[\w, ]+) -->", row) for name in listed.split(",")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_row_names_tests_that_are_there(page: Path) -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    found = list(rows(page.read_text("utf-8")))
    assert len(found) > 5
    assert [row for row in found if not named_in(row)] == []
    assert {name for row in found for name in named_in(row) if f"def {name}(" not in sources} == set()


def test_every_promise_about_security_names_tests_and_says_where_it_ends() -> None:
    _, promises = SECURITY.read_text("utf-8").split("## What is promised", 1)
    sections = re.split(r"^### ", promises, flags=re.MULTILINE)[1:]
    assert len(sections) > 5
    assert [section.splitlines()[0] for section in sections if "* `test_" not in section] == []


# What is said in code is explained in the page


def seen(heading: str = "# ", end: str = "\n# ") -> list[str]:
    """What is in code in the first column, from a heading on."""
    text = TROUBLESHOOT.read_text("utf-8").partition(heading)[2].partition(end)[0]
    return [code for row in rows(text) for code in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def logged() -> dict[str, set[str]]:
    """By level: the lines that the package logs, with … for each value."""
    found: dict[str, set[str]] = {}
    for folder in ("domain", "projections", "infrastructure"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_logger(node.func.value):
                    line = node.args[0]
                    if node.func.attr != "getLogger" and isinstance(line, ast.Constant):
                        found.setdefault(node.func.attr, set()).add(re.sub(r"%[sdg]", "…", str(line.value)))
    return found


def _is_logger(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"logger", "_log"}


def test_every_line_that_is_logged_is_explained_and_no_other() -> None:
    lines = logged()
    explained = set(seen("## What is logged", "\n## "))
    assert set(lines) == {"warning", "error", "exception", "debug"}
    assert explained == lines["warning"] | lines["error"] | lines["exception"]


def test_every_logger_is_turnlogs() -> None:
    for folder in ("domain", "projections", "infrastructure"):
        for path in (ROOT / folder).rglob("*.py"):
            assert set(re.findall(r"= logging\.getLogger\((.+)\)", path.read_text("utf-8"))) <= {
                '"turnlog"',
                "__name__",
            }


def test_every_refusal_of_redis_is_explained() -> None:
    assert set(seen("## Redis refuses")) == {*_OF_ALL, *_OF_A_KIND}


def test_every_error_that_an_operator_meets_is_explained() -> None:
    bases = (errors.StoreError, errors.LogClosedError, errors.WrongProcessError, errors.WrongLoopError)
    bases += (errors.EmbeddedServersError, errors.ProjectionError)
    abstract = {"StoreError", "UnfitDatabaseError"}
    expected = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, bases) and name not in abstract
    }
    assert expected - set(seen()) == set()


def test_every_finding_of_doctor_is_explained() -> None:
    source = (ROOT / "infrastructure" / "cli" / "doctor.py").read_text("utf-8")
    said = re.findall(r'(?:blame|notes\.append)\(\s*f?"([^"{]+)', source)
    explained = [line.strip(" …") for line in seen()]
    assert len(said) > 4
    assert [line for line in said if not any(part and part in line for part in explained)] == []
