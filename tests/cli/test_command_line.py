"""The command line as a whole: its commands, its errors, and where its output goes."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.command_line import NOBODYS, STREAMS, Run, Started, harbour, where
from turnlog import SessionLog, SessionNotFoundError, Settings
from turnlog.infrastructure.cli.app import COMMANDS, cli

NOBODY_LISTENS = "postgresql://u:secret@127.0.0.1:1/x"


def test_help_names_every_command_and_imports_none_of_them() -> None:
    program = (
        "import sys; from turnlog.infrastructure.cli.app import cli; cli(['--help'], standalone_mode=False);"
        "print({'rich', 'pydantic', 'psycopg', 'redis', 'openai', 'eventsourcing'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert done.stderr == "set()\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_has_help(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0
    assert "Usage: " in done.stdout


@pytest.mark.parametrize("command", [[sys.executable, "-m", "turnlog"], [Path(sys.executable).with_name("turnlog")]])
def test_the_entry_points_run_the_command_line(command: list[str]) -> None:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("turnlog, version ")


@pytest.mark.parametrize(
    "args",
    [
        ["lst"],
        ["list", "--limit", "101"],
        ["show"],
        ["prompt", "x", "--api", "telepathy"],
        ["prompt", "x", "--explain", "--max-tokens", "5"],
        ["record", str(STREAMS / "plain-text.jsonl"), "--pace", "nan"],
        ["reap", "--watch", "nan"],
        ["reap", "--watch", "inf"],
        ["demo", "--pace", "nan"],
    ],
)
def test_wrong_usage_exits_with_2(args: list[str]) -> None:
    done = CliRunner().invoke(cli, args)
    assert done.exit_code == 2
    assert done.stderr.startswith("Usage: ")


# Errors


@pytest.mark.parametrize("command", ["show", "events", "prompt"])
@pytest.mark.parametrize("session_id", ["nonsense", NOBODYS])
def test_an_unknown_session_is_one_line_and_a_hint(run: Run, command: str, session_id: str) -> None:
    done = run(command, session_id)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"error: no session {session_id}",
        "hint: `turnlog list` shows the sessions that there are",
    ]


def test_debug_lets_the_error_through(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr("turnlog.infrastructure.cli.app.log_at", told.append)
    done = run("--debug", "show", "nonsense")
    assert isinstance(done.exception, SessionNotFoundError)
    assert told == [logging.DEBUG]


def test_postgres_out_of_reach_is_an_error_with_a_hint_and_without_the_password() -> None:
    runner = CliRunner(env={"DATABASE_URL": NOBODY_LISTENS, "TURNLOG_STORE_TIMEOUT_SECONDS": "0.2"})
    done = runner.invoke(cli, ["--redis-url", "none", "list"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: Postgres: ")
    assert "hint: is Postgres running" in done.stderr
    assert "secret" not in done.stderr


def test_a_bad_setting_is_named() -> None:
    done = CliRunner(env={"TURNLOG_CACHE_TTL_SECONDS": "soon"}).invoke(cli, ["list"])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: TURNLOG_CACHE_TTL_SECONDS: ")


def test_an_empty_option_counts_as_not_given(settings: Settings, started: Started) -> None:
    started(harbour)
    where = {"DATABASE_URL": str(settings.database_url), "REDIS_URL": "none"}
    options = ["--database-url", "", "--redis-url", "", "--data-dir", ""]
    done = CliRunner(env=where).invoke(cli, [*options, "list", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["total"]) == (0, 1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DATABASE_URL", "postgresql+psycopg://h/d"), ("TURNLOG_STORE_TIMEOUT_SECONDS", "inf")],
)
def test_a_setting_that_cannot_be_is_one_line(variable: str, value: str) -> None:
    done = CliRunner(env={variable: value}).invoke(cli, ["list"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {variable}: ")


# Output that nobody takes


def test_a_reader_that_goes_away_is_no_error(settings: Settings, started: Started) -> None:
    async def long(log: SessionLog) -> str:
        session = await log.start_session(user_id="u1")
        await asyncio.gather(*(session.say("x" * 2_000) for _ in range(600)))
        return str(session.id)

    session_id = started(long)
    for command in (["events", session_id, "--json"], ["show", session_id]):
        assert _after_the_first_kilobyte([sys.executable, "-m", "turnlog", *where(settings), *command]) == (b"", 141)


def _after_the_first_kilobyte(command: list[str]) -> tuple[bytes, int]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1_000)
        process.stdout.close()
        return process.stderr.read(), process.wait()


def test_a_file_that_can_take_no_more_is_one_line(settings: Settings, started: Started, tmp_path: Path) -> None:
    session_id = started(harbour)
    for command in (["show", session_id], ["events", session_id, "--json"]):
        whole = [sys.executable, "-m", "turnlog", *where(settings), *command]
        # As on a full disk, which not every system has a device for.
        limited = ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *whole]
        with (tmp_path / "out").open("wb") as out:
            done = subprocess.run(limited, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "error: [Errno 27] File too large\n")
