"""`turnlog doctor`, `init` and `reap`."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.command_line import Run, Started, lines_of
from turnlog import SessionLog, Settings
from turnlog.infrastructure.cli.app import cli

NOBODY_LISTENS = "postgresql://u:secret@127.0.0.1:1/x"
NO_REDIS = "redis://:secret@127.0.0.1:1/0"


def test_doctor_says_what_it_found(run: Run) -> None:
    assert "There is no schema yet" in run("doctor").stdout
    run("init")
    done = json.loads(run("doctor", "--json").stdout)
    assert done["ok"]
    assert done["problems"] == done["notes"] == []
    assert done["postgres"]["reachable"]
    assert done["postgres"]["schema_version"] == done["postgres"]["schema_needed"] == 2
    assert (done["postgres"]["fsync"], done["postgres"]["synchronous_commit"]) == ("on", "on")
    assert done["redis"]["server"].startswith("valkey ")
    assert {"turnlog", "python", "eventsourcing", "psycopg", "pydantic"} <= set(done["versions"])
    text = run("doctor")
    assert text.exit_code == 0
    assert text.stdout.endswith("all is well\n")


def test_doctor_finds_redis_down_and_says_what_that_means(settings: Settings) -> None:
    done = CliRunner().invoke(cli, ["--database-url", str(settings.database_url), "--redis-url", NO_REDIS, "doctor"])
    assert done.exit_code == 1
    assert "Redis does not answer: " in done.stdout
    assert "only slower" in done.stdout
    assert "redis://:***@127.0.0.1:1/0" in done.stdout
    assert "secret" not in done.stdout


def test_doctor_finds_postgres_down_and_says_how_to_get_one(settings: Settings) -> None:
    arguments = ["--database-url", NOBODY_LISTENS, "--redis-url", str(settings.redis_url), "doctor"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1
    assert "Postgres does not answer: " in done.stdout
    assert "DATABASE_URL" in done.stdout
    assert "turnlog[embedded]" in done.stdout
    assert "secret" not in done.stdout
    found = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert not found["ok"]
    assert not found["postgres"]["reachable"]
    assert found["redis"]["reachable"]


def test_doctor_does_without_a_cache_where_none_is_wanted(settings: Settings) -> None:
    done = CliRunner().invoke(cli, ["--database-url", str(settings.database_url), "--redis-url", "none", "doctor"])
    assert done.exit_code == 0
    assert "There is no cache" in done.stdout


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("synchronous_commit=off", "synchronous_commit is off."),
        ("default_transaction_read_only=on", "is read-only for"),
    ],
)
def test_doctor_finds_settings_under_which_the_log_does_not_hold(settings: Settings, option: str, what: str) -> None:
    url = make_conninfo(**{**conninfo_to_dict(str(settings.database_url)), "options": f"-c{option}"})
    done = CliRunner().invoke(cli, ["--database-url", url, "--redis-url", "none", "doctor", "--json"])
    assert done.exit_code == 1
    assert what in json.loads(done.stdout)["problems"][0]["what"]


def test_doctor_finds_the_schema_of_a_newer_turnlog(run: Run, settings: Settings) -> None:
    run("init")
    schema = sql.Identifier(settings.database_schema)
    with psycopg.connect(str(settings.database_url)) as connection:
        connection.execute(sql.SQL("update {}.turnlog_schema set version = 99").format(schema))
    done = run("doctor")
    assert done.exit_code == 1
    assert "the database has turnlog schema 99, this version needs 2: upgrade turnlog" in done.stdout
    refused = run("list")
    assert refused.exit_code == 1
    assert "hint: pip install --upgrade turnlog" in refused.stderr


@pytest.mark.servers
def test_doctor_starts_embedded_servers_where_no_url_is_given(tmp_path: Path) -> None:
    done = CliRunner(env={"DATABASE_URL": "", "REDIS_URL": ""}).invoke(
        cli, ["--data-dir", str(tmp_path / "data"), "doctor", "--json"]
    )
    found = json.loads(done.stdout)
    assert found["ok"], found
    assert found["postgres"]["embedded"]
    assert found["redis"]["embedded"]


# init, reap


def test_init_creates_the_schema_once(run: Run) -> None:
    first, second, third = run("init", "--json"), run("init", "--json"), run("init")
    assert [json.loads(done.stdout)["created"] for done in (first, second)] == [True, False]
    assert third.stdout.startswith("there already: schema 2 in ")


def test_init_and_doctor_say_that_an_older_schema_is_brought_up_to_date(run: Run, settings: Settings) -> None:
    run("init")
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        admin.execute(f"update {settings.database_schema}.turnlog_schema set version = 1".encode())
    doctor = json.loads(run("doctor", "--json").stdout)
    assert doctor["ok"]
    assert any("`turnlog init` brings it to 2" in note for note in doctor["notes"])
    assert run("init").stdout.startswith("upgraded schema 1 to 2 in ")
    assert json.loads(run("init", "--json").stdout)["upgraded_from"] is None


def test_reap_says_what_it_would_end_ends_it_and_has_then_nothing_to_do(
    run: Run, started: Started, settings: Settings
) -> None:
    async def open_step(log: SessionLog) -> str:
        session = await log.start_session("u1")
        completion = await session.completion().__aenter__()
        await completion.text("half")
        log._parts.lease._live.clear()  # it is not ended when the log is closed, as if it had been killed
        return str(session.id)

    session_id = started(open_step)
    (would,) = lines_of(run("reap", "--dry-run", "--json").stdout)
    assert (would["session_id"], would["dry_run"]) == (session_id, True)
    assert json.loads(run("show", session_id, "--json").stdout)["turns"][0]["steps"][0]["status"] == "open"
    ended = run("reap").stdout.splitlines()
    assert ended[0].startswith(f"session {session_id}  step {would['step_id']}, begun ")
    assert ended[1] == "1 step ended as abandoned"
    assert run("reap").stdout == "0 steps ended as abandoned\n"
    assert json.loads(run("show", session_id, "--json").stdout)["turns"][0]["steps"][0]["status"] == "abandoned"
