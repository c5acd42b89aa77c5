"""The pages for people are true: what can be run is run, and what they name is there.

A Python block of the README with `asyncio.run` in it is a whole program. In any other, `log`, `client` and a new
`session` are given, as the README says. What `print(...)  # text` says is printed is printed. The provider is our own.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from openai import AsyncOpenAI

from turnlog import Session, SessionLog, Settings
from turnlog.domain.events import EVENT_TYPES
from turnlog.infrastructure.cli.app import COMMANDS
from turnlog.infrastructure.store.statements import SCHEMA_VERSION
from turnlog.projections.projector import VIEW_SCHEMA
from turnlog.testing import FakeProvider, Recorded, own_corpus

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

PLAYED = {"gpt-4o-mini": "demo-two-calls", "gpt-4o": "text-and-long-running-call", "gpt-4.1-mini": "plain-text"}
"""By model: the stream that answers."""

LONG = ("demo", "bench", "provider")
"""Commands with tests of their own."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


class Block(NamedTuple):
    """A fenced block. `line` is where its code begins."""

    language: str
    line: int
    code: str


def blocks(page: Path, language: str) -> list[Block]:
    text = page.read_text("utf-8")
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    every = [Block(match[1], text.count("\n", 0, match.start(2)), match[2]) for match in found]
    return [block for block in every if block.language == language]


def commands(page: Path) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.code.splitlines() if line.strip()]


PYTHON = blocks(README, "python")
TURNLOG = [line for line in commands(README) if line.startswith("turnlog ") and line.split()[1] not in LONG]


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The servers and the provider, where a reader's program finds its own."""
    with FakeProvider(lambda request: Recorded(PLAYED[request["model"]])) as provider:
        monkeypatch.setenv("DATABASE_URL", settings.database_url or "")
        monkeypatch.setenv("REDIS_URL", settings.redis_url or "")
        monkeypatch.setenv("TURNLOG_DATABASE_SCHEMA", settings.database_schema)
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"line-{block.line}")
def test_a_python_block_runs_and_prints_what_it_says(
    block: Block, environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    # The empty lines make a traceback point into the README.
    source = "\n" * block.line + block.code
    code = compile(source, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if "asyncio.run(" in block.code:
        exec(code, {"__name__": "__main__"})
    else:
        asyncio.run(run_with_a_session(code))

    printed = iter(capsys.readouterr().out.splitlines())
    assert [line for line in promised(block.code) if line not in printed] == []


async def run_with_a_session(code: Any) -> None:
    async with SessionLog.open() as log, AsyncOpenAI() as client:
        session = await log.start_session(user_id="u1")
        running = eval(code, {"log": log, "client": client, "session": session})
        if inspect.isawaitable(running):
            await running


def promised(code: str) -> list[str]:
    """What stands behind `print(...)  # `, or in the line below where it is too long for that."""
    return re.findall(r"^ *print\(.*\)(?:  |\n *)# (.*)$", code, re.MULTILINE)


def test_the_readme_begins_with_a_whole_program_and_its_other_blocks_promise_something() -> None:
    assert "asyncio.run(" in PYTHON[0].code
    assert [block.line for block in PYTHON[1:] if not promised(block.code)] == []


@pytest.mark.parametrize("command", TURNLOG)
def test_a_turnlog_command_runs(command: str, environment: None, tmp_path: Path) -> None:
    shutil.copy(next(stream.path for stream in own_corpus()), tmp_path / "FILE.jsonl")
    (tmp_path / "CHATS.jsonl").write_text('[{"role": "user", "content": "hi"}]', "utf-8")
    session_id = str(asyncio.run(spoken_session()).id)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    done = subprocess.run(
        ["bash", "-c", re.sub(r"\bID\b", session_id, command)],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


async def spoken_session() -> Session:
    async with SessionLog.open() as log:
        session = await log.start_session(user_id="u1")
        await session.say("Hello")
        await session.add_message("assistant", "Hello!")
        return session


def test_the_readme_names_every_command() -> None:
    named = {line.split()[1] for line in commands(README) if line.startswith("turnlog ")}
    assert named == set(COMMANDS)


@each_page
def test_every_make_target_that_a_page_names_is_there(page: Path) -> None:
    named = {match for line in commands(page) for match in re.findall(r"\bmake (\w+)", line)}
    named |= set(re.findall(r"`(?:\w+=\S+ )?make (\w+)`", page.read_text("utf-8")))
    assert named <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_the_table_of_settings_is_what_the_settings_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \|", README.read_text("utf-8"), re.MULTILINE)
    variables = {name: variable for name, variable, _ in rows}
    values = {name: default.strip("`") for name, _, default in rows if default.startswith("`")}
    plain = Settings.model_construct()

    assert list(variables) == list(Settings.model_fields)
    assert {name for name in variables if name not in values} == {"database_url", "redis_url", "data_dir"}
    assert Settings.from_env({variables[name]: value for name, value in values.items()}) == plain


def test_the_variables_of_docker_compose_are_explained_and_have_no_default() -> None:
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    used = set(re.findall(r"\$\{(\w+)", compose))

    assert used == set(re.findall(r"\$\{(\w+):\?set \1\}", compose))
    assert used <= set(re.findall(r"(\w+)=", "\n".join(commands(README))))
    assert set(re.findall(r"^ +- (\S+):\d+:\d+$", compose, re.MULTILINE)) == {"127.0.0.1"}


def test_the_changelog_lists_every_stored_shape() -> None:
    _, shapes = (ROOT / "CHANGELOG.md").read_text("utf-8").split("### Stored shapes", 1)
    schema = (ROOT / "infrastructure" / "store" / "schema.sql").read_text("utf-8")
    tables = re.findall(r"create table if not exists \{schema\}\.(\w+)", schema)

    expected = {event.topic for event in EVENT_TYPES} | {"turnlog_events", *tables}
    assert expected - set(re.findall(r"`([\w.-]+)`", shapes)) == set()
    assert f"view schema {VIEW_SCHEMA}" in shapes.lower()
    assert f"database schema {SCHEMA_VERSION}" in shapes.lower()


@each_page
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@each_page
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"`(?:\w+\.py::)?(test_\w+)`", page.read_text("utf-8")))
    sources = "".join(path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert {name for name in named if f"def {name}(" not in sources} == set()


@each_page
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`([\w/.-]+\.(?:py|sql|toml|yml|md))`", page.read_text("utf-8"))
    places = [ROOT, ROOT / "infrastructure", ROOT / "tests"]
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


@each_page
def test_every_member_of_a_class_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"\b([A-Z]+[a-z]\w*)\.([a-z_]\w*)", page.read_text("utf-8")))
    assert {f"{owner}.{member}" for owner, member in named if not is_member(owner, member)} == set()


def is_member(owner: str, member: str) -> bool:
    return any(re.search(rf"\b{member}\b", body) for body in classes().get(owner, ()))


@cache
def classes() -> dict[str, list[str]]:
    """The source of each class of the package, by name."""
    found = defaultdict(list)
    for folder in ("domain", "projections", "infrastructure"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text("utf-8")
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(ast.get_source_segment(source, node) or "")
    return found
