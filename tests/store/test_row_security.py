"""Row-level security: a reader sees the rows of the user whom it names, and finds no way to those of others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from uuid import UUID

import psycopg
import pytest

from tests.support.database import rows
from tests.support.roles import as_role, make_log
from turnlog import SYSTEM, MissingPrivilegeError, SessionLog, Settings
from turnlog.infrastructure.store.privileges import OF_A_SESSION
from turnlog.infrastructure.store.roles import Roles, make_roles, role_statements
from turnlog.infrastructure.store.statements import EVENTS_TABLE, Statements, packaged
from turnlog.infrastructure.store.store import EventStore
from turnlog.infrastructure.tables.usage import UsageProjection

pytestmark = pytest.mark.owner

QUERIES = re.findall(r"^-- name: (\w+)$", packaged("queries.sql"), re.MULTILINE)
TABLES = {name.format(events=EVENTS_TABLE): column for name, column in OF_A_SESSION.items()}
SECRET = "the vault opens at nine"
READER, APPLICATION = "turnlog_reader", "turnlog_application"


async def talk(log: SessionLog, user: str | None, said: str) -> UUID:
    """A session with rows in every table."""
    session = await log.start_session(user, title=said)
    await session.say(said, message_id=said)
    async with session.completion(model="m") as completion:
        await completion.text(said)
        await completion.finish()
    await session.say("And then?")
    await session.view()
    return session.id


async def talks(settings: Settings) -> dict[str, UUID]:
    """Sessions of two users, of nobody, and one that was deleted, recorded by the application."""
    async with SessionLog.open(as_role(settings, APPLICATION)) as log:
        found = {name: await talk(log, name, said) for name, said in (("u1", "good day"), ("u2", SECRET))}
        found["nobody"] = await talk(log, None, SECRET)
        found["deleted"] = await talk(log, "u1", SECRET)
        await log.delete_session(found["deleted"], "u1")
        await log.rebuild_views()
        return found


@pytest.fixture
def sessions(settings: Settings) -> dict[str, UUID]:
    """The sessions of `talks`, with row-level security on."""
    make_log(settings, row_security=True)
    found = asyncio.run(talks(settings))
    line = "insert into turnlog_sessions select gen_random_uuid(), '', title, started_at, updated_at, version, deleted"
    rows(settings, f"{line} from turnlog_sessions where user_id = 'u2'")
    # Only longer sessions have rows here.
    marks = "insert into turnlog_marks (session_id, position, view_schema, body)"
    rows(settings, f"{marks} select session_id, position, view_schema, body from turnlog_heads")
    # And only those that came through the proxy.
    prefixes = "insert into turnlog_prefixes (fingerprint, session_id, position, system)"
    rows(settings, f"{prefixes} select 'a beginning', session_id, 1, '' from turnlog_heads")
    return found


@contextmanager
def reader(settings: Settings, principal: str | None) -> Iterator[psycopg.Connection]:
    """The reader's connection."""
    with psycopg.connect(as_role(settings, READER).database_url or "", autocommit=True) as connection:
        connection.execute(f"set search_path to {settings.database_schema}".encode())
        if principal is not None:
            connection.execute("select set_config('turnlog.principal', %s, false)", (principal,))
        yield connection


def seen(connection: psycopg.Connection, table: str, column: str) -> set[UUID]:
    """The sessions of which it has rows."""
    return {row[0] for row in connection.execute(f"select {column} from {table}".encode()).fetchall()}


def test_a_reader_sees_the_rows_of_the_user_whom_it_names(settings: Settings, sessions: dict[str, UUID]) -> None:
    for table, column in TABLES.items():
        for principal in ("u1", "u2"):
            with reader(settings, principal) as connection:
                assert seen(connection, table, column) == {sessions[principal]}, table
        for principal in (None, "", "nobody", "u1' or true --"):
            with reader(settings, principal) as connection:
                assert seen(connection, table, column) == set(), table


def test_the_user_is_the_one_at_the_time_of_the_statement(settings: Settings, sessions: dict[str, UUID]) -> None:
    with reader(settings, "u1") as connection:
        connection.execute("set plan_cache_mode = force_generic_plan")
        connection.execute("prepare mine as select originator_id from turnlog_events")
        for principal in ("u1", "u2", ""):
            connection.execute("select set_config('turnlog.principal', %s, false)", (principal,))
            found = {row[0] for row in connection.execute("execute mine").fetchall()}
            assert found == ({sessions[principal]} if principal else set())
        with connection.transaction():
            connection.execute("set local turnlog.principal = 'u2'")
            assert seen(connection, "turnlog_events", "originator_id") == {sessions["u2"]}
        assert seen(connection, "turnlog_events", "originator_id") == set()


LEAK = """create function pg_temp.leak(what bytea) returns boolean language plpgsql cost 0.0000001 as
$$ begin raise notice '%', convert_from(what, 'UTF8'); return true; end $$;"""
WAYS = {
    "all rows": "select convert_from(state, 'UTF8') from turnlog_events",
    "a condition": "select convert_from(title, 'UTF8') from turnlog_sessions where user_id = 'u2'",
    "a join": "select convert_from(e.state, 'UTF8') from turnlog_events e left join turnlog_sessions s on true",
    "a side effect": f"{LEAK} select count(*) from turnlog_events where pg_temp.leak(state)",
    "a side effect in a join": f"{LEAK} select count(*) from turnlog_keys k join turnlog_events e "
    "on k.session_id = e.originator_id where pg_temp.leak(e.state)",
    "an error": "select count(case when position(convert_to('vault', 'UTF8') in state) > 0 "
    "then convert_from(state, 'UTF8')::int end) from turnlog_events",
    "a key": "select session_id::text from turnlog_keys",
    "a head": "select body from turnlog_heads where position(convert_to('vault', 'UTF8') in body) > 0",
    "a page": "select body from turnlog_pages",
    "a mark": "select body from turnlog_marks",
    "a state": "select body from turnlog_states",
    "a beginning": "select session_id::text from turnlog_prefixes",
    "a sample": "select convert_from(state, 'UTF8') from turnlog_events tablesample system (100)",
    "a place on the disk": "select convert_from(state, 'UTF8') from turnlog_events where ctid < '(9,9)'",
    "a view of one's own": "create temp view v as select convert_from(state, 'UTF8') from turnlog_events; table v",
    "a copy": "create temp table had as select * from turnlog_events; select convert_from(state, 'UTF8') from had",
    "copy out": "copy (select convert_from(state, 'UTF8') from turnlog_events) to stdout",
    "what the planner knows": "select most_common_vals::text, histogram_bounds::text from pg_stats where "
    "tablename like 'turnlog%' and attname in ('user_id', 'title', 'state', 'key', 'session_id', 'originator_id')",
    "a shut-off": "set row_security = off; select convert_from(state, 'UTF8') from turnlog_events",
}


def learned(settings: Settings, statement: str) -> str:
    """All that comes out of a statement for the reader as u1: rows, notices, and the words of an error."""
    said: list[str] = []
    with reader(settings, "u1") as connection:
        connection.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
        try:
            if statement.startswith("copy"):
                with connection.cursor().copy(statement.encode()) as copy:
                    said += [str(row) for row in copy.rows()]
            else:
                cursor = connection.execute(statement.encode())
                while cursor.nextset():
                    pass
                said += [str(row) for row in cursor.fetchall()]
        except psycopg.Error as error:
            said.append(str(error))
    return "\n".join(said)


def ways_that_lead_in(settings: Settings, sessions: dict[str, UUID]) -> set[str]:
    rows(settings, "analyze turnlog_events; analyze turnlog_sessions; analyze turnlog_keys")
    secrets = [SECRET, *(str(session_id) for name, session_id in sessions.items() if name != "u1")]
    return {way for way, statement in WAYS.items() if any(each in learned(settings, statement) for each in secrets)}


def test_no_way_leads_to_what_others_said(settings: Settings, sessions: dict[str, UUID]) -> None:
    assert ways_that_lead_in(settings, sessions) == set()
    make_log(settings, row_security=False)
    assert ways_that_lead_in(settings, sessions) == set(WAYS), "all of them are ways in where it is off"


@pytest.mark.parametrize(
    "statement",
    [
        "table turnlog_writers",
        "table turnlog_tracking",
        "table turnlog_projection_usage",
        "table turnlog_projection_usage_owners",
        "select cache_secret from turnlog_schema",
        "table turnlog_events_positions",
        "select turnlog_events_settled()",
        "select stavalues1 from pg_statistic",
        "copy turnlog_writers to stdout",
        "select from turnlog_sessions for update",
        "update turnlog_sessions set user_id = 'u1'",
        "insert into turnlog_keys select session_id, 'k', '1' from turnlog_sessions",
        "create table mine (id uuid references turnlog_sessions)",
        "create policy mine on turnlog_events using (true)",
        "alter policy turnlog_reader on turnlog_events using (true)",
        "alter table turnlog_events disable row level security",
        "set role turnlog_application",
        "set session authorization turnlog_owner",
        "alter role turnlog_reader bypassrls",
    ],
)
def test_what_is_nobodys_row_and_the_wall_itself_are_out_of_reach(settings: Settings, statement: str) -> None:
    make_log(settings, row_security=True)
    with reader(settings, "u1") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_a_reader_may_read_nothing_that_is_not_guarded(settings: Settings) -> None:
    make_log(settings, row_security=True)
    found = rows(
        settings,
        f"""select relname, relrowsecurity from pg_class where relnamespace = '{settings.database_schema}'::regnamespace
        and relkind in ('r', 'p', 'v', 'm', 'f') and has_table_privilege('{READER}', oid, 'select')""",
    )
    assert dict(found) == dict.fromkeys(TABLES, True)
    of_a_session = """select table_name from information_schema.columns where table_schema = current_schema
        and column_name in ('session_id', 'originator_id') and table_name !~ '^turnlog_projection'"""
    assert {name for (name,) in rows(settings, of_a_session)} == set(TABLES)


def test_the_rows_of_a_user_are_found_by_an_index(settings: Settings, sessions: dict[str, UUID]) -> None:
    with reader(settings, "u1") as connection:
        connection.execute("set enable_seqscan = off; set enable_bitmapscan = off")
        for table, column in TABLES.items():
            plan = "\n".join(row[0] for row in connection.execute(f"explain select * from {table}".encode()).fetchall())
            assert "Index Cond: (user_id =" in plan
            assert table == "turnlog_sessions" or f"Index Cond: ({column} = ANY (" in plan


def plans(settings: Settings) -> dict[str, str]:
    """How each statement of the store is carried out for the application, where the tables are large."""
    statements = Statements(settings.database_schema)
    found: dict[str, str] = {}
    with psycopg.connect(as_role(settings, APPLICATION).database_url or "", autocommit=True) as connection:
        connection.execute("set enable_seqscan = off")
        for name in QUERIES:
            numbers = count(1)
            text = re.sub("%b", lambda _: f"${next(numbers)}", statements[name].as_string())  # noqa: B023 at once
            lines = connection.execute(f"explain (generic_plan, costs off) {text}".encode()).fetchall()
            found[name] = "\n".join(line for (line,) in lines)
    return found


def test_what_the_application_asks_is_carried_out_as_without_it(settings: Settings) -> None:
    make_log(settings)
    before = plans(settings)
    assert "Index Cond" in before["read_session"]
    make_log(settings, row_security=True)
    assert plans(settings) == before


# Turning it on, and keeping it


def sees_all(settings: Settings, sessions: dict[str, UUID]) -> bool:
    """Whether the reader sees all rows, and may read tables of projections and the end of the log: all of it, or
    nothing."""
    with reader(settings, "u1") as connection:
        sees = seen(connection, "turnlog_events", "originator_id") == {*sessions.values()}
        assert sees or seen(connection, "turnlog_events", "originator_id") == {sessions["u1"]}
        for table in ("turnlog_projection_usage", "turnlog_events_positions"):
            with nullcontext() if sees else pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"table {table}".encode())
        return sees


async def rebuilt(settings: Settings) -> None:
    """New tables, which the owner makes."""
    async with SessionLog.open(as_role(settings, "turnlog_owner")) as log:
        await log.projections.rebuild(UsageProjection())


async def test_it_stays_as_it_is_until_the_other_is_asked_for(settings: Settings) -> None:
    make_log(settings)
    sessions = await talks(settings)
    assert sees_all(settings, sessions)
    for asked, then in ((None, True), (True, False), (None, False), (True, False), (False, True), (None, True)):
        make_log(settings, asked)
        assert sees_all(settings, sessions) is then
        await rebuilt(settings)
        assert sees_all(settings, sessions) is then


async def test_it_is_turned_on_and_off_under_work_and_nobody_waits_for_it(settings: Settings) -> None:
    make_log(settings)
    store = EventStore(settings.database_url or "", schema=settings.database_schema)
    async with SessionLog.open(as_role(settings, APPLICATION)) as log:
        session = await log.start_session("u1")
        async with session.completion(model="m") as completion:
            for number, asked in enumerate((True, False, True)):
                with reader(settings, "u1") as connection, connection.transaction():
                    connection.execute("select from turnlog_events")
                    turning = asyncio.create_task(store.run(make_roles, store.recorder, Roles(), asked))
                    await asyncio.sleep(0.1)
                    await asyncio.wait_for(completion.text(f"{number} "), 5)
                    assert not turning.done()
                assert await turning is asked
            await completion.finish()
        view = await session.view()
        assert view.turns[0].steps[0].message.content == "0 1 2 "
        assert (await log.list_sessions(SYSTEM)).total == 1
    await store.close()


def test_several_applications_and_readers_are_side_by_side(settings: Settings, sessions: dict[str, UUID]) -> None:
    names = [f"{kind}_{settings.database_schema}" for kind in ("app", "looks")]
    try:
        with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
            statements = Statements(settings.database_schema)
            admin.execute(role_statements(statements, Roles(application=names[0], reader=names[1])))
        assert len(asyncio.run(talks(settings))) == 4
        for role in (names[1], READER):
            with psycopg.connect(as_role(settings, role).database_url or "", autocommit=True) as connection:
                connection.execute(
                    f"set search_path to {settings.database_schema}; set turnlog.principal = 'u1'".encode()
                )
                found = seen(connection, "turnlog_events", "originator_id")
                assert sessions["u1"] in found
                assert sessions["u2"] not in found
    finally:
        rows(settings, "".join(f"drop owned by {name}; drop role {name};" for name in names))


@pytest.mark.parametrize("how", ["superuser", "bypassrls", "in role turnlog_application", "in role turnlog_owner"])
def test_a_reader_whom_it_would_not_hold_is_refused(settings: Settings, how: str) -> None:
    make_log(settings)
    name = f"held_by_nothing_{settings.database_schema}"
    statements = Statements(settings.database_schema)
    with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
        admin.execute(f"create role {name} login {how}".encode())
        try:
            with pytest.raises(psycopg.errors.InvalidGrantOperation, match=f"does not hold for the role {name}"):
                admin.execute(role_statements(statements, Roles(reader=name), row_security=True))
            admin.execute(role_statements(statements, Roles(reader=name)))
        finally:
            admin.execute(f"drop owned by {name}; drop role {name}".encode())


async def test_a_log_is_not_opened_by_whom_its_rows_are_hidden_from(settings: Settings) -> None:
    make_log(settings, row_security=True)
    schema, name = settings.database_schema, f"by_hand_{settings.database_schema}"
    rows(settings, f"create role {name} login; grant usage on schema {schema} to {name}")
    rows(settings, f"grant all on all tables in schema {schema} to {name}")
    rows(settings, f"grant all on all sequences in schema {schema} to {name}")
    try:
        with pytest.raises(MissingPrivilegeError, match=f"row-level security hides rows of .* from {name}") as refusal:
            await talks_as(settings, name)
        rows(settings, refusal.value.hint.rpartition("or: ")[2])
        await talks_as(settings, name)
        rows(settings, f"revoke {APPLICATION} from {name}")
        for table in TABLES:
            rows(settings, f"create policy by_hand on {table} using (true)")
        await talks_as(settings, name)
    finally:
        rows(settings, f"drop owned by {name}; drop role {name}")


async def talks_as(settings: Settings, role: str) -> None:
    async with SessionLog.open(as_role(settings, role)) as log:
        await talk(log, "u1", "good day")
