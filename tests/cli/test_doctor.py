"""`turnlog doctor`, `init` and `reap`."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.command_line import Run, Started, lines_of, on_a_log
from tests.support.database import rows
from tests.support.owners import Owner
from tests.support.roles import as_role, make_log
from turnlog import MissingPrivilegeError, SessionLog, Settings
from turnlog.infrastructure.cli.app import cli
from turnlog.infrastructure.store.statements import SCHEMA_VERSION
from turnlog.infrastructure.tables.usage import UsageProjection

NOBODY_LISTENS = "postgresql://u:secret@127.0.0.1:1/x"
NO_REDIS = "redis://:secret@127.0.0.1:1/0"


@pytest.mark.owner
def test_doctor_says_what_it_found(run: Run) -> None:
    assert "There is no schema yet" in run("doctor").stdout
    run("init")
    done = json.loads(run("doctor", "--json").stdout)
    assert done["ok"]
    assert done["problems"] == done["notes"] == []
    assert done["postgres"]["reachable"]
    assert done["postgres"]["schema_version"] == done["postgres"]["schema_needed"] == SCHEMA_VERSION
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
    assert f"the database has turnlog schema 99, this version needs {SCHEMA_VERSION}: upgrade turnlog" in done.stdout
    refused = run("list")
    assert refused.exit_code == 1
    assert "hint: pip install --upgrade turnlog" in refused.stderr


def low_user(settings: Settings) -> tuple[str, str]:
    """A URL of a user who lacks a right on a log that is there, and the user's name."""
    name = f"low_{settings.database_schema}"
    make_log(settings)
    with psycopg.connect(str(settings.database_url), autocommit=True) as admin:
        admin.execute(f"create role {name} login in role turnlog_application".encode())
        admin.execute(f"revoke insert on {settings.database_schema}.turnlog_heads from turnlog_application".encode())
    return make_conninfo(**{**conninfo_to_dict(str(settings.database_url)), "user": name}), name


@pytest.mark.owner
@pytest.mark.parametrize("fault", ["read-only", "encoding", "rights", "newer"])
def test_doctor_says_of_a_database_what_an_open_says(settings: Settings, fault: str) -> None:
    parts, dropped = conninfo_to_dict(str(settings.database_url)), ""
    url = str(settings.database_url)
    if fault == "read-only":
        url = make_conninfo(**{**parts, "options": "-cdefault_transaction_read_only=on"})
    elif fault == "encoding":
        url, dropped = make_conninfo(**{**parts, "dbname": "latin"}), "drop database latin"
        with psycopg.connect(str(settings.database_url), autocommit=True) as admin:
            locale = "locale_provider libc locale 'C' template template0"
            admin.execute(f"create database latin encoding 'LATIN1' {locale}".encode())
    elif fault == "rights":
        url, name = low_user(settings)
        dropped = f"drop owned by {name}; drop role {name}"
    else:
        make_log(settings)
        with psycopg.connect(url) as admin:
            admin.execute(f"update {settings.database_schema}.turnlog_schema set version = 99".encode())
    try:
        opened = CliRunner().invoke(cli, ["--database-url", url, "--redis-url", "none", "list"])
        examined = CliRunner().invoke(cli, ["--database-url", url, "--redis-url", "none", "doctor", "--json"])
    finally:
        with psycopg.connect(str(settings.database_url), autocommit=True) as admin:
            admin.execute(dropped.encode())
    (problem,) = json.loads(examined.stdout)["problems"]
    assert opened.exit_code == examined.exit_code == 1
    assert opened.stderr == f"error: {problem['what']}\nhint: {problem['advice']}\n"


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


@pytest.mark.owner
def test_init_creates_the_schema_once(run: Run) -> None:
    first, second, third = run("init", "--json"), run("init", "--json"), run("init")
    assert [json.loads(done.stdout)["created"] for done in (first, second)] == [True, False]
    assert third.stdout.startswith(f"there already: schema {SCHEMA_VERSION} in ")


@pytest.mark.owner
def test_init_and_doctor_say_that_an_older_schema_is_brought_up_to_date(run: Run, settings: Settings) -> None:
    run("init")
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        admin.execute(f"update {settings.database_schema}.turnlog_schema set version = 1".encode())
    doctor = json.loads(run("doctor", "--json").stdout)
    assert doctor["ok"]
    assert any(f"`turnlog init` brings it to {SCHEMA_VERSION}" in note for note in doctor["notes"])
    assert run("init").stdout.startswith(f"upgraded schema 1 to {SCHEMA_VERSION} in ")
    assert json.loads(run("init", "--json").stdout)["upgraded_from"] is None


# init --roles


async def use(log: SessionLog) -> str:
    """Records, reads, and asks for what was used."""
    session = await log.start_session("u1")
    async with session.completion(model="m") as completion:
        await completion.text("Hello")
        await completion.finish()
    await log.rebuild_views()
    assert len((await log.usage("u1")).rows) == 1
    return str(session.id)


@pytest.mark.owner
def test_init_makes_all_that_an_application_without_ddl_needs(run: Run, settings: Settings) -> None:
    run("init")
    schema, name = settings.database_schema, f"dml_{settings.database_schema}"
    rows(settings, f"create role {name} login")
    rows(settings, f"grant usage on schema {schema} to {name}")
    rows(settings, f"grant select, insert, update, delete on all tables in schema {schema} to {name}")
    rows(settings, f"grant usage, select, update on all sequences in schema {schema} to {name}")
    try:
        assert on_a_log(as_role(settings, name), use)
    finally:
        rows(settings, f"drop owned by {name}; drop role {name}")


@pytest.mark.owner
def test_init_makes_roles_that_may_do_what_they_have_to_and_no_more(run: Run, settings: Settings) -> None:
    first, second = run("init", "--roles", "--json"), run("init", "--roles")
    assert json.loads(first.stdout)["roles"] == {
        "owner": "turnlog_owner",
        "application": "turnlog_application",
        "reader": "turnlog_reader",
    }
    assert second.exit_code == 0
    assert "application: the role turnlog_application" in second.stdout
    session_id = on_a_log(as_role(settings, "turnlog_application"), use)

    async def maintain(log: SessionLog) -> str:
        await log.projections.rebuild(UsageProjection())
        return ""

    on_a_log(as_role(settings, "turnlog_owner"), maintain)
    with pytest.raises(MissingPrivilegeError, match="permission denied for schema"):
        on_a_log(as_role(settings, "turnlog_application"), maintain)
    assert on_a_log(as_role(settings, "turnlog_application"), use) != session_id
    with pytest.raises(MissingPrivilegeError, match="turnlog_reader may not insert"):
        on_a_log(as_role(settings, "turnlog_reader"), use)
    assert rows(as_role(settings, "turnlog_reader"), "select count(*) from turnlog_sessions") == [(2,)]


@pytest.mark.owner
@pytest.mark.parametrize("role", ["turnlog_application", "turnlog_reader"])
@pytest.mark.parametrize(
    "statement",
    [
        "update turnlog_events set topic = topic",
        "delete from turnlog_events",
        "truncate turnlog_events",
        "alter table turnlog_events disable trigger all",
        "update turnlog_schema set version = 1",
        "drop table turnlog_heads",
        "create table turnlog_mine (a int)",
        "create or replace function turnlog_refuse_change() returns trigger language plpgsql as 'begin end'",
    ],
)
def test_neither_the_application_nor_the_reader_can_change_what_is_recorded(
    settings: Settings, role: str, statement: str
) -> None:
    make_log(settings)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(as_role(settings, role), statement)


@pytest.mark.owner
def test_the_statements_of_the_roles_are_printed_and_can_be_run_by_hand(run: Run, settings: Settings) -> None:
    names = ("--owner-role", "An owner", "--application-role", 'the "app"', "--reader-role", "looks-on")
    printed = run("init", "--sql", *names).stdout
    assert 'grant select, insert on table "' in printed
    assert rows(settings, f"select from pg_namespace where nspname = '{settings.database_schema}'") == []
    run("init")
    try:
        rows(settings, printed)
        assert on_a_log(as_role(settings, 'the "app"'), use)
    finally:
        for name in ('"the ""app"""', '"looks-on"', '"An owner"'):
            rows(settings, f"drop owned by {name} cascade; drop role {name}")


@pytest.mark.owner
def test_init_turns_row_level_security_on_and_off_and_leaves_it_otherwise(run: Run, settings: Settings) -> None:
    def is_on(*options: str) -> bool:
        done = run("init", "--roles", *options, "--json")
        assert done.exit_code == 0, done.stderr
        on = bool(json.loads(done.stdout)["row_security"])
        session_id = on_a_log(as_role(settings, "turnlog_application"), use)
        reader = as_role(settings, "turnlog_reader")
        assert len(rows(reader, "table turnlog_sessions")) == (0 if on else len(sessions) + 1)
        assert json.loads(run("doctor", "--json").stdout)["postgres"]["row_security"] is on
        sessions.append(session_id)
        return on

    sessions: list[str] = []
    assert not is_on()
    assert is_on("--row-security")
    assert run("init").exit_code == 0
    assert is_on()
    assert "row-level security is on" in run("init", "--roles").stdout
    assert not is_on("--no-row-security")
    rows(settings, run("init", "--sql", "--row-security").stdout)
    assert is_on()
    refused = run("init", "--row-security")
    assert refused.exit_code == 2
    assert "--row-security belongs to --roles" in refused.stderr


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


def test_reap_says_which_turns_it_ends_that_had_no_step_open(run: Run, started: Started) -> None:
    async def own(log: SessionLog) -> str:
        session, other = await log.start_session("u1"), await log.start_session("u1")
        await session.say("Hi", message_id="m-1")
        await Owner.of(log, session)
        await other.completion().__aenter__()
        log._parts.lease._live.clear()  # it is not ended when the log is closed, as if it had been killed
        return str(session.id)

    session_id = started(own)
    found = {one["session_id"]: one for one in lines_of(run("reap", "--dry-run", "--json").stdout)}
    assert len(found) == 2
    assert (found[session_id]["step_id"], found[session_id]["turn_id"]) == (None, "m-1")
    ended = run("reap").stdout.splitlines()
    assert any(line.startswith(f"session {session_id}  turn m-1, begun ") for line in ended)
    assert ended[-1] == "1 step and 1 turn ended as abandoned"
    assert json.loads(run("show", session_id, "--json").stdout)["turns"][0]["runs"][0]["status"] == "abandoned"
