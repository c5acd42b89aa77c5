"""A database is examined when a log is opened: what keeps it from holding one has a name, a sentence and a hint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.database import rows
from tests.support.roles import make_log
from turnlog import (
    DatabaseEncodingError,
    DatabaseVersionError,
    InvalidInputError,
    MissingPrivilegeError,
    ReadOnlyDatabaseError,
    SchemaVersionError,
    SessionLog,
    Settings,
    UnfitDatabaseError,
)
from turnlog.infrastructure.store import connecting, examination
from turnlog.infrastructure.store.examination import Facts
from turnlog.infrastructure.store.privileges import SEQUENCES, TABLES, needed
from turnlog.infrastructure.store.statements import EVENTS_TABLE
from turnlog.infrastructure.store.store import EventStore


def having(settings: Settings, **parts: str) -> Settings:
    """The settings with another user, database or option in the URL."""
    url = make_conninfo(**{**conninfo_to_dict(settings.database_url or ""), **parts})
    return settings.model_copy(update={"database_url": url})


async def opening(settings: Settings) -> None:
    async with SessionLog.open(settings) as log:
        session = await log.start_session("é 😀", title="ß")
        await session.say("Hello")
        line = (await log.list_sessions("é 😀")).items[0]
        assert line.title == "ß"


@contextmanager
def admin(settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute("set client_min_messages = warning")
        yield connection


# Encodings


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_in_another_encoding_is_refused_by_its_name(settings: Settings, encoding: str) -> None:
    name = f"{settings.database_schema}_{encoding.lower()}"
    with admin(settings) as connection:
        connection.execute(
            f"create database {name} encoding '{encoding}' locale_provider libc locale 'C' template template0".encode()
        )
        try:
            with pytest.raises(DatabaseEncodingError, match=f"the encoding of the database is {encoding}") as refusal:
                await opening(having(settings, dbname=name))
            assert "encoding 'UTF8'" in refusal.value.hint
        finally:
            connection.execute(f"drop database {name} with (force)".encode())


@pytest.mark.owner
@pytest.mark.parametrize("where", ["environment", "url", "options"])
async def test_utf_8_is_spoken_whatever_was_set(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    await opening(
        having(
            settings,
            **({"client_encoding": "LATIN1"} if where == "url" else {}),
            **({"options": "-c client_encoding=LATIN1"} if where == "options" else {}),
        )
    )


def test_a_connection_that_did_not_take_utf_8_is_refused() -> None:
    fault = connecting.fault_of(180000, "UTF8", "LATIN1")
    assert isinstance(fault, DatabaseEncodingError)
    assert "the encoding of the connection is LATIN1" in str(fault)
    assert connecting.fault_of(140000, "UTF8", "utf-8") is None


# The server


def test_an_old_postgres_is_refused() -> None:
    fault = connecting.fault_of(130011, "UTF8", "UTF8")
    assert isinstance(fault, DatabaseVersionError)
    assert str(fault) == "Postgres 13 is too old"


@pytest.mark.owner
async def test_a_read_only_database_is_refused(settings: Settings) -> None:
    with pytest.raises(ReadOnlyDatabaseError, match="is read-only for") as refusal:
        await opening(having(settings, options="-c default_transaction_read_only=on"))
    assert "default_transaction_read_only = off" in refusal.value.hint


def test_a_standby_and_a_newer_schema_are_refused() -> None:
    standby = examination.fault_of(Facts(user="u", database="d", is_standby=True, is_read_only=True), "public")
    assert isinstance(standby, ReadOnlyDatabaseError)
    assert "standby" in str(standby)
    assert "target_session_attrs=read-write" in standby.hint
    newer = Facts(user="u", database="d", has_schema=True, has_tables=True, version=99)
    assert isinstance(examination.fault_of(newer, "public"), SchemaVersionError)


async def test_an_option_that_libpq_does_not_know_is_refused_before_anything_is_connected_to(
    settings: Settings,
) -> None:
    with pytest.raises(InvalidInputError, match="an option that libpq does not know") as refusal:
        await opening(settings.model_copy(update={"database_url": "postgresql://u:secret@h/d?colour=red"}))
    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


# Privileges


@pytest.fixture
def low(settings: Settings) -> Iterator[Settings]:
    """The settings of a user without any rights, whose schema is not there."""
    name = f"low_{settings.database_schema}"
    with admin(settings) as connection:
        connection.execute(f"create role {name} login".encode())
        yield having(settings, user=name)
        connection.execute(f"drop owned by {name} cascade; drop role {name}".encode())


async def grant_what_the_hint_says(low: Settings, settings: Settings) -> list[str]:
    """Opens a log, and grants what the hint says each time that this is refused. Returns the sentences."""
    said: list[str] = []
    while True:
        try:
            await opening(low)
        except MissingPrivilegeError as error:
            assert len(said) < 5, said
            said.append(str(error))
            with admin(settings) as connection:
                connection.execute(error.hint.rpartition("or: ")[2].encode())
        else:
            return said


@pytest.mark.owner
async def test_where_there_is_no_schema_the_hint_is_what_helps(low: Settings, settings: Settings) -> None:
    (said,) = await grant_what_the_hint_says(low, settings)
    assert "may not create one in the database postgres" in said


@pytest.mark.owner
async def test_where_the_schema_is_empty_the_hints_are_what_helps(low: Settings, settings: Settings) -> None:
    with admin(settings) as connection:
        connection.execute(f"create schema {settings.database_schema}".encode())
    said = await grant_what_the_hint_says(low, settings)
    assert ["may not use the schema" in said[0], "may not create them" in said[-1]] == [True, True]


@pytest.mark.owner
async def test_where_the_tables_are_another_users_the_hints_are_what_helps(low: Settings, settings: Settings) -> None:
    make_log(settings)
    said = await grant_what_the_hint_says(low, settings)
    assert "may not use the schema" in said[0]
    assert "may not select" in said[1]
    assert len(said) == 2


@pytest.mark.owner
async def test_each_right_that_is_missing_is_named(low: Settings, settings: Settings) -> None:
    make_log(settings)
    schema, user = settings.database_schema, f"low_{settings.database_schema}"
    store = EventStore(low.database_url or "", schema=schema)
    with admin(settings) as connection:
        connection.execute(f"grant turnlog_application to {user}".encode())
        assert (await store.schema.examine()).version is not None
        for right in needed(EVENTS_TABLE):
            thing, name = right.kind, f"{schema}.{right.name}"
            if right.kind == "function":
                thing, name = "all functions in schema", schema
            connection.execute(
                f"revoke {right.privilege} on {thing} {name} from turnlog_application, public, {user}".encode()
            )
            with pytest.raises(MissingPrivilegeError) as refusal:
                await store.schema.examine()
            assert f" may not {right.privilege} {schema}." in str(refusal.value)
            assert right.kind == "function" or right.name in str(refusal.value)
            (statement,) = refusal.value.hint.rpartition("or: ")[2].split("; ")
            connection.execute(statement.encode())
            assert (await store.schema.examine()).version is not None
    await store.close()


@pytest.mark.owner
async def test_a_user_with_rights_on_the_schema_alone_may_make_the_tables_in_it(
    low: Settings, settings: Settings
) -> None:
    with admin(settings) as connection:
        connection.execute(f"create schema {settings.database_schema}".encode())
        connection.execute(
            f"grant usage, create on schema {settings.database_schema} to low_{settings.database_schema}".encode()
        )
    await opening(low)


@pytest.mark.owner
async def test_an_older_schema_is_upgraded_by_its_owner_only(low: Settings, settings: Settings) -> None:
    make_log(settings)
    with admin(settings) as connection:
        connection.execute(f"grant turnlog_application to low_{settings.database_schema}".encode())
        connection.execute(f"update {settings.database_schema}.turnlog_schema set version = 1".encode())
    with pytest.raises(MissingPrivilegeError, match=r"has turnlog schema 1, and \w+ does not own it") as refusal:
        await opening(low)
    assert "Run `turnlog init` as the owner" in refusal.value.hint
    await opening(settings)
    await opening(low)


async def test_every_table_of_the_log_has_its_rights_written_down(log: SessionLog, settings: Settings) -> None:
    found = rows(
        settings,
        f"""select relkind::text, relname from pg_class where relnamespace = '{settings.database_schema}'::regnamespace
        and relkind in ('r', 'S') and relname !~ '^turnlog_(projection|tracking)'""",
    )
    named = [("r", name) for name in TABLES] + [("S", name) for name in SEQUENCES]
    assert set(found) == {(kind, name.format(events=EVENTS_TABLE)) for kind, name in named}


@pytest.mark.owner
async def test_a_refusal_of_postgres_in_a_call_says_who_may(low: Settings, settings: Settings) -> None:
    make_log(settings)
    with admin(settings) as connection:
        connection.execute(f"grant turnlog_application to low_{settings.database_schema}".encode())
    async with SessionLog.open(low) as log:
        assert (await log.usage("u1")).rows == ()
        with admin(settings) as connection:
            connection.execute(
                f"revoke select on {settings.database_schema}.turnlog_sessions from turnlog_application".encode()
            )
        with pytest.raises(UnfitDatabaseError, match="permission denied for table turnlog_sessions") as refusal:
            await log.list_sessions("u1")
        assert isinstance(refusal.value, MissingPrivilegeError)
