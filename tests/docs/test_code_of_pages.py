"""What a page says can be run is run.

A Python block with `asyncio.run` in it is a whole program. In any other `log`, `client` and a new `session` are given,
as the pages say. What `print(...)  # text` says is printed is printed.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from openai import AsyncOpenAI

from tests.support.exports import EXPORTS
from tests.support.pages import PAGES, ROOT, Block, blocks, commands, name_of, promised
from turnlog import Session, SessionLog
from turnlog.infrastructure.cli.app import COMMANDS, cli
from turnlog.testing import own_corpus

LONG = ("demo", "provider", "serve", "ui")
"""Commands with tests of their own."""

ITS_OWN_TESTS = "docs/how-to/testing.md"  # tests/testing/test_howto.py runs its blocks: together they are a program

PYTHON = [
    block
    for page in PAGES
    if name_of(page) != ITS_OWN_TESTS
    for block in blocks(page, "python")
    if "FastAPI(" not in block.code or "turnlog_" in block.code  # test_tutorial.py serves the other one
]
TURNLOG = list(
    dict.fromkeys(
        line.partition("  #")[0].strip()
        for page in PAGES
        for line in commands(page)
        if line.startswith("turnlog ") and line.split()[1] not in LONG
    )
)


def _marked(block: Block) -> Any:
    """A projection of one's own makes tables."""
    return pytest.param(block, marks=[pytest.mark.owner] if block.page.name == "projections.md" else [], id=block.name)


@pytest.mark.parametrize("block", [_marked(block) for block in PYTHON])
def test_a_python_block_runs_and_prints_what_it_says(
    block: Block, environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    # The empty lines make a traceback point into the page.
    source = "\n" * block.line + block.code
    code = compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
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


def test_a_block_that_is_no_whole_program_promises_something() -> None:
    parts = [block for block in PYTHON if "asyncio.run(" not in block.code]
    assert [block.name for block in parts if not promised(block.code)] == []


@pytest.mark.parametrize("command", TURNLOG)
def test_a_turnlog_command_runs(
    command: str, environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # a command adds the folder that it runs in
    shutil.copy(next(stream.path for stream in own_corpus()), tmp_path / "FILE.jsonl")
    shutil.copy(ROOT / "examples" / "own_projection.py", tmp_path / "module.py")
    (tmp_path / "chat.py").write_text("def answer(session): ...", "utf-8")  # there is no turn to go on with
    (tmp_path / "CHATS.jsonl").write_text('[{"role": "user", "content": "hi"}]', "utf-8")
    shutil.copy(EXPORTS / "chatgpt.json", tmp_path / "conversations.json")
    session_id = str(asyncio.run(spoken_session()).id)
    once = re.sub(r"(turnlog (?:project|work) (?!.*--)[^#]*)", r"\1 --once ", command)  # else it keeps up until Ctrl-C

    if "--drop" in command:
        run_command("turnlog project module:Questions --once")
    done = run_command(re.sub(r"\bID\b", session_id, once))

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout


def run_command(command: str) -> Result:
    """Runs the command here: that `turnlog` begins as a process is tested with the command line."""
    turnlog, *arguments = shlex.split(command)
    assert turnlog == "turnlog"
    for module in ("module", "chat"):  # those of the test before
        sys.modules.pop(module, None)
    return CliRunner().invoke(cli, arguments)


async def spoken_session() -> Session:
    async with SessionLog.open() as log:
        session = await log.start_session(user_id="u1")
        await session.say("Hello")
        await session.add_message("assistant", "Hello!")
        return session


def test_the_page_for_operators_names_every_command() -> None:
    named = {line.split()[1] for line in commands(ROOT / "docs" / "how-to" / "operate.md")}
    assert named == set(COMMANDS)


def test_whole_files_in_a_page_are_there() -> None:
    for page in PAGES:
        for name, part in re.findall(r'--8<-- "([^":]+)(?::(\w+))?"', page.read_text("utf-8")):
            text = (ROOT / name).read_text("utf-8")
            assert not part or (f"[start:{part}]" in text and f"[end:{part}]" in text), name_of(page)
