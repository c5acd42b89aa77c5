"""What the pages name is there: links, files, names, tests, make targets."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, commands, name_of
from turnlog.domain.events import EVENT_TYPES
from turnlog.infrastructure.store.statements import SCHEMA_VERSION
from turnlog.projections.projector import VIEW_SCHEMA

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@each_page
def test_every_make_target_that_a_page_names_is_there(page: Path) -> None:
    named = {match for line in commands(page) for match in re.findall(r"\bmake ([\w-]+)", line)}
    named |= set(re.findall(r"`(?:\w+=\S+ )?make ([\w-]+)`", page.read_text("utf-8")))
    assert named <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@each_page
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@each_page
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"`(?:\w+\.py::)?(test_\w+)`", page.read_text("utf-8")))
    assert named - names_of_tests() == set()


@each_page
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`([\w/.-]+(?:\.(?:py|sql|toml|yml|md|html)|/))`", page.read_text("utf-8"))
    folders = [ROOT, ROOT / "infrastructure", ROOT / "tests", ROOT / "projections" / "prompt"]
    made = {"first.py", "chat.py", "chat.html", "site/"}  # by the reader, and by `make docs`
    assert [name for name in named if name not in made and not any((base / name).exists() for base in folders)] == []


@each_page
def test_every_member_of_a_class_that_a_page_names_is_there(page: Path) -> None:
    text = re.sub(r"^```html\n.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"\b([A-Z]+[a-z]\w*)\.([a-z_]\w*)", text))
    assert {f"{owner}.{member}" for owner, member in named if not is_member(owner, member)} == set()


@each_page
def test_every_name_of_code_that_a_page_explains_is_there(page: Path) -> None:
    """A class, a constant or a function: what is written like one, in code, and has no dot or bracket in it."""
    if page.name not in EXPLAINING and page.parent.name != "explanation":
        return
    named = set(
        re.findall(r"`([A-Z][A-Za-z]+[a-z]|[A-Z]+(?:_[A-Z]+)+|_[A-Z]+|[a-z]+(?:_[a-z]+)+)`", page.read_text("utf-8"))
    )
    assert named - words() == set()


EXPLAINING = ("CONTRIBUTING.md", "glossary.md")


def is_member(owner: str, member: str) -> bool:
    """Whether a class, or one that it derives from, has it."""
    found = classes().get(owner, ())
    return any(re.search(rf"\b{member}\b", body) for body, _ in found) or any(
        is_member(base, member) for _, bases in found for base in bases
    )


@cache
def words() -> set[str]:
    """The words of all code: the package, the tests, the benchmarks and what configures them."""
    files = [
        *_sources(),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "benchmarks").rglob("*.py"),
        ROOT / "pyproject.toml",
    ]
    files += (ROOT / "infrastructure").rglob("*.sql")
    text = "\n".join(path.read_text("utf-8") for path in files)
    text = re.sub(r"\{(?:self\.)?events\}_", "turnlog_events_", text)  # the functions of the table of events
    return set(re.findall(r"\w+", text))


@cache
def names_of_tests() -> set[str]:
    """The names of all tests."""
    sources = (path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}


@cache
def classes() -> dict[str, list[tuple[str, list[str]]]]:
    """The source of each class of the package, and the names of its bases, by name."""
    found = defaultdict(list)
    for path in _sources():
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                found[node.name].append((ast.get_source_segment(source, node) or "", bases))
    return found


def _sources() -> list[Path]:
    return [path for folder in ("domain", "projections", "infrastructure") for path in (ROOT / folder).rglob("*.py")]


def test_the_variables_of_docker_compose_are_explained_and_have_no_default() -> None:
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    used = set(re.findall(r"\$\{(\w+)", compose))

    assert used == set(re.findall(r"\$\{(\w+):\?set \1\}", compose))
    assert used <= set(re.findall(r"(\w+)=", "\n".join(commands(ROOT / "docs" / "how-to" / "deploy.md"))))
    assert set(re.findall(r"^ +- (\S+):\d+:\d+$", compose, re.MULTILINE)) == {"127.0.0.1"}


def test_the_changelog_lists_every_stored_shape() -> None:
    _, shapes = (ROOT / "CHANGELOG.md").read_text("utf-8").split("### Stored shapes", 1)
    schema = (ROOT / "infrastructure" / "store" / "schema.sql").read_text("utf-8")
    tables = re.findall(r"create table if not exists \{schema\}\.(\w+)", schema)

    expected = {event.topic for event in EVENT_TYPES} | {"turnlog_events", *tables}
    assert expected - set(re.findall(r"`([\w.-]+)`", shapes)) == set()
    assert f"view schema {VIEW_SCHEMA}" in shapes.lower()
    assert f"database schema {SCHEMA_VERSION}" in shapes.lower()
