"""`turnlog usage`, `project` and `rebuild`, and what `turnlog doctor` says of projections."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result

from tests.support.command_line import Run, Started, on_a_log
from turnlog import SessionLog, Settings

pytestmark = pytest.mark.owner  # they make projections of their own


ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def answered(settings: Settings) -> None:
    """Two users, with a step each."""

    async def work(log: SessionLog) -> str:
        for user_id, tokens in (("u1", 1_000), ("u2", 20)):
            session = await log.start_session(user_id, title=f"Of {user_id}")
            async with session.completion(model="m-1") as completion:
                await completion.text("So.")
                await completion.finish("stop", usage={"prompt_tokens": tokens, "completion_tokens": 3})
        return str(session.id)

    on_a_log(settings, work)


def said(result: Result) -> Any:
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_usage_is_a_table_with_totals(run: Run) -> None:
    lines = run("usage", "--by", "user", "--by", "model").stdout.splitlines()

    assert lines[0].split() == ["user", "model", "steps", "prompt", "completion", "total", "cached", "reasoning"]
    assert lines[1].split() == ["u1", "m-1", "1", "1,000", "3", "1,003", "0", "0"]
    assert lines[2].split() == ["u2", "m-1", "1", "20", "3", "23", "0", "0"]
    assert lines[3].split() == ["total", "2", "1,020", "6", "1,026", "0", "0"]
    assert lines[4] == "up to log position 8"


def test_usage_of_one_user_as_json(run: Run) -> None:
    report = said(run("usage", "--user", "u1", "--json"))

    assert [(row["user_id"], row["model"], row["total_tokens"]) for row in report["rows"]] == [("u1", "m-1", 1_003)]
    assert report["by"] == ["user", "model", "day"]
    assert said(run("usage", "--user", "u1", "--until", "2001-01-01", "--json"))["rows"] == []


def test_usage_that_is_not_caught_up_says_how_far_it_is_behind(run: Run) -> None:
    assert run("usage", "--no-catch-up").stdout == "up to log position 0, 8 events behind\n"


def test_a_day_that_is_none_is_an_error(run: Run) -> None:
    result = run("usage", "--since", "yesterday")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: since: 'yesterday' is not a day such as")


def test_the_doctor_says_how_far_projections_are_behind(run: Run) -> None:
    assert "projections" not in said(run("doctor", "--json"))
    run("usage", "--no-catch-up")
    facts = said(run("doctor", "--json"))["projections"]
    assert facts["usage_events_behind"] == 8
    assert 0 <= facts["usage_seconds_behind"] < 60
    run("usage")
    assert said(run("doctor", "--json"))["projections"] == {"usage_events_behind": 0}


def test_the_doctor_notes_a_rebuild_that_was_interrupted(run: Run, settings: Settings) -> None:
    run("usage")
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        admin.execute(f"insert into {settings.database_schema}.turnlog_tracking values ('usage_new', 3)")
    diagnosis = said(run("doctor", "--json"))

    assert diagnosis["projections"]["usage_new_events_behind"] == 5
    assert [note for note in diagnosis["notes"] if note.startswith("usage is being rebuilt, or a rebuild of it was")]


def test_projections_are_brought_up_once(run: Run) -> None:
    assert run("project", "--once").stdout == "usage: up to log position 8\n"
    line = run("project", "--once", "--json", "tests.support.counting:Counting").stdout
    assert json.loads(line) == {"projection": "counting", "log_position": 8}


def test_a_projection_that_cannot_go_on_is_an_error_and_the_others_go_on(run: Run, started: Started) -> None:
    async def refuse(log: SessionLog) -> str:
        session = await log.start_session("u1")
        await session.set_title("raise")
        return str(session.id)

    started(refuse)
    result = run("project", "--once", "tests.support.counting:Refusing", "usage")

    assert result.exit_code == 1
    assert "error: projection refusing, log position 10: position 2 of session" in result.stderr
    assert result.stdout == "usage: up to log position 10\n"


BROKEN = {
    "syntax": "class X(",
    "raising": "1 / 0",
    "leaving": "raise SystemExit('no')",
    "classes": """
from turnlog import Projection

class Nameless(Projection):
    tables = "create table {nameless} (n int)"

    def process(self, recorded):
        return ()

class Demanding(Nameless):
    name = "demanding"

    def __init__(self, what):
        pass
""",
}


@pytest.fixture
def broken_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules as people write them on a bad day."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in BROKEN.items():
        (tmp_path / f"broken_{name}.py").write_text(text)


def tables_of(settings: Settings) -> list[str]:
    query = "select tablename from pg_tables where schemaname = %s and tablename like 'turnlog_projection%%' order by 1"
    with psycopg.connect(settings.database_url or "") as connection:
        return [name for (name,) in connection.execute(query, (settings.database_schema,))]


def positions_in(settings: Settings) -> list[str]:
    query = f"select application_name from {settings.database_schema}.turnlog_tracking order by 1"
    with psycopg.connect(settings.database_url or "") as connection:
        return [name for (name,) in connection.execute(query.encode())]


def execute(settings: Settings, *statements: str) -> None:
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        for statement in statements:
            admin.execute(statement.replace("SCHEMA", settings.database_schema).encode())


def test_a_projection_that_is_not_wanted_is_dropped_with_its_position(run: Run, settings: Settings) -> None:
    run("project", "--once", "usage", "tests.support.counting:Counting")
    execute(settings, "insert into SCHEMA.turnlog_tracking values ('usage_owners', 1)")
    assert run("project", "--drop", "counting").stdout == "dropped counting: turnlog_projection_counting\n"
    assert tables_of(settings) == ["turnlog_projection_usage", "turnlog_projection_usage_owners"]
    assert said(run("project", "--drop", "usage", "--yes", "--json"))["dropped"] == ["turnlog_projection_usage"]
    assert positions_in(settings) == ["usage_owners"]
    run("project", "--drop", "usage_owners")
    assert (tables_of(settings), positions_in(settings)) == ([], [])


def test_what_a_failed_rebuild_left_is_dropped_alone_or_with_the_rest(run: Run, settings: Settings) -> None:
    left = [
        "insert into SCHEMA.turnlog_tracking values ('usage_new', 3)",
        "create table SCHEMA.turnlog_projection_usage_new ()",
        "create table SCHEMA.turnlog_projection_usage_owners_new ()",
    ]
    run("usage")
    execute(settings, *left)
    dropped = said(run("project", "--drop", "usage_new", "--json"))["dropped"]
    assert dropped == ["turnlog_projection_usage_new", "turnlog_projection_usage_owners_new"]
    assert positions_in(settings) == ["usage"]
    execute(settings, *left)
    run("project", "--drop", "usage")
    assert (tables_of(settings), positions_in(settings)) == ([], [])
    assert run("usage", "--by", "user").stdout.endswith("up to log position 8\n")


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 2), ("y", 0, 0)])
def test_on_a_terminal_dropping_asks_first(
    run: Run, turnlog: list[str], settings: Settings, answer: str, code: int, left: int
) -> None:
    run("usage")
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    command = [*turnlog, "project", "--drop", "usage"]
    done = subprocess.run(command, cwd=ROOT, stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert "Drop the tables of projection usage? [y/N]" in done.stderr
    assert (done.returncode, len(tables_of(settings))) == (code, left)


def test_what_cannot_be_dropped_is_an_error_and_nothing_is_dropped(run: Run, settings: Settings) -> None:
    assert "there is no such projection in this database; there are: none" in run("project", "--drop", "x").stderr
    run("usage")
    execute(settings, "create view SCHEMA.theirs as select * from SCHEMA.turnlog_projection_usage_owners")
    result = run("project", "--drop", "usage")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "projection usage: its tables cannot be dropped: " in result.stderr
    with psycopg.connect(settings.database_url or "") as rebuilding:
        key = f"turnlog rebuild {settings.database_schema}.usage"
        rebuilding.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        assert "another process is rebuilding it" in run("project", "--drop", "usage_new").stderr
    with psycopg.connect(settings.database_url or "") as reading:
        reading.execute(f"select * from {settings.database_schema}.turnlog_projection_usage".encode())
        assert "its tables are in use" in run("project", "--drop", "usage").stderr
    assert len(tables_of(settings)) == 2
    assert positions_in(settings) == ["usage"]
    assert run("project", "usage", "--drop", "usage").exit_code == 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing", "'nothing' is not one of: usage; one of your own is module:Class"),
        ("tests.nowhere:X", "cannot be imported"),
        ("tests.support.counting:X", "cannot be imported"),
        (":X", "cannot be imported: ValueError: Empty module name"),
        (".:X", "cannot be imported: TypeError: "),
        ("broken_syntax:X", "cannot be imported: SyntaxError: "),
        ("broken_raising:X", "cannot be imported: ZeroDivisionError: "),
        ("broken_leaving:X", "cannot be imported: SystemExit: "),
        ("broken_classes:Nameless", "has no `name`"),
        ("broken_classes:Demanding", "cannot be made without arguments: TypeError: "),
        ("turnlog:Session", "is no subclass of turnlog.Projection"),
        ("turnlog:Projection", "is no subclass of turnlog.Projection with a `process`"),
    ],
)
@pytest.mark.usefixtures("broken_modules")
def test_a_name_that_is_no_projection_is_an_error(run: Run, name: str, why: str) -> None:
    for command in (["project", "--once"], ["rebuild"]):
        result = run(*command, name)
        assert result.exit_code == 2
        assert why in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_runs_until_it_is_told_to_stop(turnlog: list[str], run: Run, number: signal.Signals) -> None:
    worker = subprocess.Popen(
        [*turnlog, "project", "--json"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert worker.stderr is not None
        assert worker.stderr.readline() == "keeping up: usage; Ctrl-C ends it\n"
        while said(run("doctor", "--json")).get("projections") != {"usage_events_behind": 0}:
            pass
        worker.send_signal(number)
        out, err = worker.communicate(timeout=20)
    finally:
        worker.kill()
        worker.communicate()

    assert (worker.returncode, err) == (0, "")
    assert json.loads(out) == {"projection": "usage", "log_position": 8}


def test_projections_and_views_are_rebuilt(run: Run) -> None:
    run("usage")
    assert said(run("rebuild", "usage", "--json")).items() >= {"rebuilt": "usage", "log_positions": 8}.items()
    assert said(run("rebuild", "views", "--json")).items() >= {"rebuilt": "views", "sessions": 2}.items()
    assert run("rebuild", "tests.support.counting:Counting").stdout.startswith(
        "rebuilt tests.support.counting:Counting: 8 log positions in "
    )
    assert said(run("usage", "--json", "--by", "user"))["total"]["total_tokens"] == 1_026
