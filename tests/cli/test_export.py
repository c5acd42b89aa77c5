"""`turnlog export`, and `turnlog import` of what it has written."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.command_line import NOBODYS, Run, Started, harbour, lines_of, on_a_log, where
from turnlog import SessionLog, Settings
from turnlog.infrastructure.cli import import_exported
from turnlog.infrastructure.cli.app import cli
from turnlog.infrastructure.repair.exporting import EXPORT_FORMATS


@pytest.fixture
def elsewhere(settings_elsewhere: Settings) -> Run:
    """Runs a command on another log."""
    schema = {"TURNLOG_DATABASE_SCHEMA": settings_elsewhere.database_schema}

    def invoke(*args: str, stdin: str | None = None) -> Result:
        return CliRunner(env=schema).invoke(cli, [*where(settings_elsewhere), *args], input=stdin)

    return invoke


def summary_of(run: Run, *args: str, **options: str) -> str:
    return run("import", *args, **options).stdout.strip()


def test_a_session_goes_from_one_log_into_another(run: Run, started: Started, elsewhere: Run, tmp_path: Path) -> None:
    session_id, file = started(harbour), tmp_path / "session.jsonl"
    written = run("export", session_id, "--output", str(file))
    assert (written.exit_code, written.stdout, written.stderr) == (0, "1 session exported\n", "")
    count = len(file.read_text("utf-8").splitlines()) - 1

    tried = summary_of(elsewhere, str(file), "--dry-run")
    assert (
        tried == f"1 session with {count} events would be imported: 1 new, 0 extended, 0 already there; 0 not imported"
    )
    assert summary_of(elsewhere, str(file)).endswith(" imported: 1 new, 0 extended, 0 already there; 0 not imported")
    again = json.loads(elsewhere("import", str(file), "--json").stdout)
    assert (again["already_there"], again["events"], again["sessions"]) == (1, count, [session_id])
    assert elsewhere("show", session_id, "--json").stdout == run("show", session_id, "--json").stdout
    assert elsewhere("export", session_id).stdout == file.read_text("utf-8")


def test_all_sessions_of_a_user_are_exported_and_a_bad_one_stops_no_other(
    run: Run, settings: Settings, elsewhere: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_exported, "PAGE_LINES", 3)

    async def several(log: SessionLog) -> str:
        for number, user in enumerate(["u1", "u2", "u1", "u1"]):
            session = await log.start_session(user)
            for text in range(4 + number):
                await session.say(f"{text}")
        return ""

    on_a_log(settings, several)
    written = run("export", "--user", "u1")
    assert written.stderr == ""
    lines = written.stdout.splitlines()
    heads = [number for number, line in enumerate(lines) if "turnlog_export" in line]
    assert len(heads) == 3
    for broken, bad in ((heads[1] + 1, "event 1"), (heads[1] + 3, "event 3"), (heads[2] - 1, "event")):
        file = tmp_path / "some.jsonl"
        file.write_text("\n".join([*lines[:broken], "{}", *lines[broken + 1 :]]), "utf-8")
        outcome = json.loads(elsewhere("import", str(file), "--json").stdout)
        assert outcome["imported"] == 2
        assert [(one["line"], one["reason"][: len(bad)]) for one in outcome["bad"]] == [(heads[1] + 1, bad)]
    assert summary_of(elsewhere, "-", stdin=written.stdout).startswith("3 sessions with ")
    assert json.loads(elsewhere("list", "--user", "u1", "--json").stdout)["total"] == 3


def test_the_owner_of_what_is_imported_may_be_another_one(run: Run, started: Started, elsewhere: Run) -> None:
    exported = run("export", started(harbour)).stdout
    assert json.loads(elsewhere("import", "-", "--user", "u9", "--json", stdin=exported).stdout)["new"] == 1
    assert json.loads(elsewhere("list", "--user", "u9", "--json").stdout)["total"] == 1


def test_an_export_goes_through_a_pipe(
    started: Started, turnlog: list[str], settings_elsewhere: Settings, tmp_path: Path
) -> None:
    session_id = started(harbour)
    exporting = subprocess.run([*turnlog, "export", session_id], capture_output=True, check=True)
    done = subprocess.run(
        [turnlog[0], "-m", "turnlog", *where(settings_elsewhere), "import", "-", "--json"],
        input=exporting.stdout,
        env={"TURNLOG_DATABASE_SCHEMA": settings_elsewhere.database_schema, "PATH": ""},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["sessions"] == [session_id]


@pytest.mark.parametrize("format_", EXPORT_FORMATS[1:])
def test_a_conversation_is_a_line_in_the_format_that_is_asked_for(run: Run, started: Started, format_: str) -> None:
    session_id = started(harbour)
    (one,) = lines_of(run("export", session_id, "--format", format_).stdout)
    assert (one["session_id"], one["title"], one["user_id"]) == (session_id, "At the harbour", "u1")
    assert "low water at six" in json.dumps(one["messages"])


def test_what_cannot_be_exported_is_refused(run: Run, tmp_path: Path) -> None:
    assert run("export").exit_code == 2
    assert run("export", NOBODYS, "--user", "u1").exit_code == 2
    unknown = run("export", NOBODYS)
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert f"no session {NOBODYS}" in unknown.stderr
    nothing = run("export", "--user", "nobody", "--output", str(tmp_path / "none.jsonl"))
    assert (nothing.exit_code, nothing.stdout) == (0, "0 sessions exported\n")
    missing = run("export", "--user", "nobody", "--output", str(tmp_path / "no" / "such.jsonl"))
    assert missing.exit_code == 1
    assert "No such file" in missing.stderr


def test_what_is_no_export_is_told_so(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    file.write_text('[{"role": "user", "content": "hi"}]\n', "utf-8")
    outcome = json.loads(run("import", str(file), "--format", "turnlog", "--json").stdout)
    assert outcome["bad"] == [{"line": 1, "reason": "is no header of an exported session: it has no turnlog_export"}]
