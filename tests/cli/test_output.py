"""What is printed: colours, widths, characters and times."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from tests.support.command_line import Run, Started, harbour, where
from turnlog import SessionLog, Settings
from turnlog.infrastructure.cli.app import cli
from turnlog.infrastructure.cli.output import Screen, printable
from turnlog.infrastructure.cli.times import ago
from turnlog.infrastructure.urls import masked


def test_there_are_no_colours_but_on_a_terminal(
    run: Run, settings: Settings, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = started(harbour)
    assert "\x1b" not in run("show", session_id).stdout
    assert b"\x1b[" in _on_a_terminal([sys.executable, "-m", "turnlog", *where(settings), "show", session_id])
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen(force_terminal=True).color_system is None


def _on_a_terminal(command: list[str]) -> bytes:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # how Linux says that the other side was closed
        while part := os.read(ours, 65_536):
            seen += part
    os.close(ours)
    assert process.wait() == 0
    return seen


def test_long_text_is_wrapped_beside_its_label_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from turnlog.infrastructure.cli.transcript import print_block

    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(file=io.StringIO(), force_terminal=True, width=40)
    print_block(screen, "user", "one two three four five six seven eight nine")
    assert isinstance(screen.file, io.StringIO)
    assert screen.file.getvalue() == "user       one two three four five six\n           seven eight nine\n"


def test_stdout_need_not_be_utf_8(settings: Settings, started: Started) -> None:
    async def speak(log: SessionLog) -> str:
        session = await log.start_session(user_id="u1", title="Maré ☕")
        return str(session.id)

    session_id = started(speak)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*where(settings), "show", session_id]
    text = subprocess.run([sys.executable, "-m", "turnlog", *command], capture_output=True, env=environment, check=True)
    assert text.stdout.startswith(b"Mar? ?\n")
    document = CliRunner(charset="ascii").invoke(cli, [*command, "--json"]).stdout
    assert json.loads(document)["title"] == "Maré ☕"


async def unprintable(log: SessionLog) -> str:
    session = await log.start_session(user_id="u1", title="\x1b[31mred\ud800")
    await session.say("a\x00b \ud83d c \x9b31m")
    return str(session.id)


def test_what_cannot_be_printed_is_replaced_in_text_and_escaped_in_json(run: Run, started: Started) -> None:
    session_id = started(unprintable)
    for command, nul in (("show", "␀"), ("events", "\\u0000")):
        text = run(command, session_id).stdout
        assert f"a{nul}b \ufffd c \ufffd31m" in text
        assert not set(text) & {"\x00", "\x1b", "\x9b", "\ud83d"}
    assert "␛[31mred\ufffd" in run("list").stdout
    view = json.loads(run("show", session_id, "--json").stdout)
    assert view["turns"][0]["messages"][0]["content"] == "a\x00b \ud83d c \x9b31m"
    assert json.loads(run("prompt", session_id).stdout)[0]["content"] == "a\x00b \ufffd c \x9b31m"


# Without a server


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:pw@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p@w@h/db?sslmode=require", "postgresql://u:***@h/db?sslmode=require"),
        ("postgresql://u@h/db?password=pw&x=1", "postgresql://u@h/db?password=***&x=1"),
        ("host=h password='p w' dbname=d", "host=h password=*** dbname=d"),
        ("redis://:pw@h:6379/0", "redis://:***@h:6379/0"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ('missing "=" after "postgresql:/u:pw@h/db"', 'missing "=" after "postgresql:/u:***@h/db"'),
        ("postgresql//u:pw@h/db", "postgresql//u:***@h/db"),
    ],
)
def test_passwords_are_blotted_out(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "now"), (59, "59 s ago"), (61, "1 min ago"), (7_200, "2 h ago"), (3 * 86_400, "3 d ago")],
)
def test_times_are_told_in_one_unit(seconds: float, said: str) -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    assert ago(now - timedelta(seconds=seconds), now) == said


def test_two_halves_of_a_character_that_met_are_printed_as_one() -> None:
    assert printable("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"
