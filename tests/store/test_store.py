"""The store on a real Postgres: the library's own recorder cases, the schema, and what the database refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, StoredEvent
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase

from tests.support import programs
from tests.support.database import rows
from tests.support.processes import Child
from tests.support.views import settled
from turnlog.domain.errors import SchemaVersionError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.prefixes import Prefix
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.statements import SCHEMA_VERSION
from turnlog.infrastructure.store.store import EventStore
from turnlog.projections.projector import Projector

pytestmark = pytest.mark.owner  # they make tables of their own


@pytest.fixture
def datastore(settings: Settings) -> Iterator[UrlDatastore]:
    assert settings.database_url is not None
    with UrlDatastore(settings.database_url, schema=settings.database_schema, pool_size=10, timeout=10) as opened:
        yield opened


@pytest.fixture
def recorder(datastore: UrlDatastore) -> BatchRecorder:
    made = BatchRecorder(datastore)
    made.create_table()
    return made


class _OnPostgres:
    """Gives the library's cases a recorder of ours."""

    INITIAL_VERSION: ClassVar[int] = 1

    @pytest.fixture(autouse=True)
    def _with_datastore(self, datastore: UrlDatastore) -> None:
        self.datastore = datastore

    def create_recorder(self) -> ApplicationRecorder:
        recorder = BatchRecorder(self.datastore)
        recorder.create_table()
        return recorder

    def new_originator_id(self) -> UUID:
        return uuid4()


class TestRecorderOfTheLibrarysCases(_OnPostgres, ApplicationRecorderTestCase[Any]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNotificationIdsOfTheLibrarysCases(_OnPostgres, NonInterleavingNotificationIDsBaseCase):
    pass


def _rows(count: int, size: int = 10, originator: UUID | None = None) -> list[StoredEvent]:
    originator = originator or uuid4()
    return [StoredEvent(originator, version, "t.v1", b"x" * size) for version in range(1, count + 1)]


@pytest.mark.parametrize(("count", "size"), [(20_000, 100), (3, 8_000_000)])
def test_a_batch_of_many_megabytes_goes_in(recorder: BatchRecorder, count: int, size: int) -> None:
    rows = _rows(count, size)

    assert recorder.insert_events(rows) == list(range(1, count + 1))
    assert recorder.select_events(rows[0].originator_id) == rows


def test_a_refused_batch_leaves_nothing(recorder: BatchRecorder) -> None:
    rows = _rows(3)
    recorder.insert_events(rows)
    with pytest.raises(IntegrityError):
        recorder.insert_events([*_rows(5), rows[1]])

    more = _rows(2)
    assert recorder.insert_events(more) == [10, 11]
    assert [row.originator_id for row in recorder.select_notifications(1, 100)] == [
        row.originator_id for row in (*rows, *more)
    ]
    assert recorder.log_head() == 11


@pytest.mark.parametrize(
    "statement",
    ["update {} set state = ''", "delete from {}", "truncate {}", "update {} set topic = topic where false"],
)
def test_the_database_itself_refuses_to_change_events(
    recorder: BatchRecorder, datastore: UrlDatastore, statement: str
) -> None:
    rows = _rows(2)
    recorder.insert_events(rows)
    table = f"{datastore.schema}.turnlog_events"
    with (
        datastore.pool.connection() as connection,
        pytest.raises(psycopg.errors.RestrictViolation, match="events are immutable"),
    ):
        connection.execute(statement.format(table))

    assert recorder.select_events(rows[0].originator_id) == rows


async def test_several_processes_may_create_the_schema_at_once(settings: Settings) -> None:
    assert settings.database_url is not None
    stores = [EventStore(settings.database_url, schema=settings.database_schema) for _ in range(8)]
    try:
        await asyncio.gather(*(store.schema.prepare() for store in stores))
        assert [await store.schema.version() for store in stores] == [SCHEMA_VERSION] * 8
        assert len({store.schema.log_id for store in stores}) == 1
        assert await stores[0].schema.prepare() == SCHEMA_VERSION
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_the_schema_of_a_newer_version_is_refused(settings: Settings) -> None:
    async with SessionLog.open(settings):
        pass
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        admin.execute(f"update {settings.database_schema}.turnlog_schema set version = 99")

    with pytest.raises(
        SchemaVersionError, match=f"has turnlog schema 99, this version needs {SCHEMA_VERSION}: upgrade turnlog"
    ):
        async with SessionLog.open(settings):
            pass


# Upgrades


@pytest.fixture
def version_1(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A database as version 1 left it: a session with a message and an open step. The connection is an old process."""
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as old:
        old.execute(f"create schema {settings.database_schema}".encode())
        old.execute(f"set search_path to {settings.database_schema}".encode())
        old.execute((DATA / "schema-1.sql").read_bytes())
        append_as_version_1(old, 1, GOLDEN_TOPICS)
        yield old


DATA = Path(__file__).parents[1] / "data"
OLD_SESSION = UUID(int=1)
GOLDEN_TOPICS = ["session-started.v1", "message-added.v1", "completion-started.v1", "text-delta.v1"]


def append_as_version_1(old: psycopg.Connection[Any], position: int, topics: list[str]) -> None:
    bodies = [(DATA / "golden" / f"{topic}.json").read_bytes().rstrip(b"\n") for topic in topics]
    positions = list(range(position, position + len(topics)))
    moment, ids = datetime.now(UTC), [OLD_SESSION] * len(topics)
    line = ([OLD_SESSION], ["u1"], [b"A title"], [moment], [moment], [positions[-1]], [False])
    places = ", ".join([  # the columns of events, lists and keys
        "%s::uuid[], %s::bigint[], %s::text[], %s::bytea[], %s::uuid[], %s::text[], %s::bytea[]",
        "%s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::boolean[], null, null, null"])  # fmt: skip
    old.execute(f"select turnlog_events_append({places})".encode(), (ids, positions, topics, bodies, *line))


async def test_a_database_of_version_1_is_brought_up_to_date_and_keeps_what_it_holds(
    settings: Settings, version_1: psycopg.Connection[Any]
) -> None:
    assert settings.database_url is not None
    store = EventStore(settings.database_url, schema=settings.database_schema)
    try:
        assert await store.schema.prepare() == 1
        assert await store.schema.prepare() == await store.schema.version() == SCHEMA_VERSION
    finally:
        await store.close()
    async with SessionLog.open(settings) as log:
        (line,) = (await log.list_sessions("u1")).items
        session = log.session(OLD_SESSION, "u1")
        assert (line.session_id, line.title, line.version) == (OLD_SESSION, "A title", 4)
        assert [event.topic async for event in session.events()] == GOLDEN_TOPICS
        async with session.completion() as completion:
            await completion.finish()
        statuses = [step.status for turn in (await session.view()).turns for step in turn.steps]
        assert statuses == ["finished", "abandoned", "finished"]


async def test_a_process_of_version_1_goes_on_beside_the_upgrade(
    settings: Settings, version_1: psycopg.Connection[Any]
) -> None:
    async with SessionLog.open(settings) as log:
        append_as_version_1(version_1, 5, ["text-delta.v1"])
        assert (await log.session(OLD_SESSION, "u1").view()).version == 5


@pytest.fixture
def version_2(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A database as version 2 left it. The connection is an old process."""
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as old:
        old.execute(f"create schema {settings.database_schema}".encode())
        old.execute(f"set search_path to {settings.database_schema}".encode())
        old.execute((DATA / "schema-2.sql").read_bytes())
        append_as_version_2(old, 1, GOLDEN_TOPICS)
        yield old


def append_as_version_2(
    old: psycopg.Connection[Any], position: int, topics: list[str], *, with_line: bool = True, key: bytes | None = None
) -> None:
    bodies = [(DATA / "golden" / f"{topic}.json").read_bytes().rstrip(b"\n") for topic in topics]
    positions = list(range(position, position + len(topics)))
    moment, ids = datetime.now(UTC), [OLD_SESSION] * len(topics)
    line = ([OLD_SESSION], ["u1"], [b"A title"], [moment], [moment], [positions[-1]], [False], [None])
    keys = ([OLD_SESSION], [key], [""]) if key else (None, None, None)
    places = ", ".join([  # the columns of events, lists and keys
        "%s::uuid[], %s::bigint[], %s::text[], %s::bytea[], %s::uuid[], %s::text[], %s::bytea[]",
        "%s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::boolean[], %s::text[]",
        "%s::uuid[], %s::bytea[], %s::text[]"])  # fmt: skip
    values = (ids, positions, topics, bodies, *(line if with_line else [None] * 8), *keys)
    old.execute(f"select turnlog_events_append({places})".encode(), values)


async def test_a_process_of_version_2_goes_on_beside_the_upgrade(
    settings: Settings, version_2: psycopg.Connection[Any]
) -> None:
    async with SessionLog.open(settings) as log:
        session = log.session(OLD_SESSION, "u1")
        assert (await session.view()).version == 4
        append_as_version_2(version_2, 5, ["text-delta.v1"], with_line=False)
        append_as_version_2(version_2, 6, ["text-delta.v1"], key=b"a key")
        append_as_version_2(version_2, 7, ["text-delta.v1"], key=b"a key")  # to that version it may come again
        await session.say("between", message_id="m-9")
        await log.session(OLD_SESSION, "u1").say("between", message_id="m-9")
        append_as_version_2(version_2, 9, ["text-delta.v1"])
        await session.say("after")

        events = [event async for event in session.events()]
        assert [event.position for event in events] == list(range(1, 11))
        assert [event.log_position for event in events] == sorted({event.log_position for event in events})
        assert [event.commit_id > 0 for event in events] == [False] * 4 + [True] * 6
        assert await session.view() == Projector(OLD_SESSION).apply_all(events).view()


@pytest.fixture
def version_3(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A database as version 3 left it. The connection is an old process."""
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as old:
        old.execute(f"create schema {settings.database_schema}".encode())
        old.execute(f"set search_path to {settings.database_schema}".encode())
        old.execute((DATA / "schema-3.sql").read_bytes())
        append_as_version_3(old, 1, GOLDEN_TOPICS)
        yield old


def append_as_version_3(old: psycopg.Connection[Any], position: int, topics: list[str]) -> None:
    bodies = [(DATA / "golden" / f"{topic}.json").read_bytes().rstrip(b"\n") for topic in topics]
    positions = list(range(position, position + len(topics)))
    moment, ids = datetime.now(UTC), [OLD_SESSION] * len(topics)
    line = ([OLD_SESSION], ["u1"], [b"A title"], [moment], [moment], [positions[-1]], [False], [None])
    places = ", ".join([  # the columns of events, lists, keys and what is rested on
        "%s::uuid[], %s::bigint[], %s::text[], %s::bytea[], %s::uuid[], %s::text[], %s::bytea[]",
        "%s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::boolean[], %s::text[]",
        "null, null, null, null, null, null, null, 0, 0, 7"])  # fmt: skip
    old.execute(f"select turnlog_events_append({places})".encode(), (ids, positions, topics, bodies, *line))


async def test_what_a_process_of_version_3_writes_leaves_the_status_of_the_turn_unknown(
    settings: Settings, version_3: psycopg.Connection[Any]
) -> None:
    columns = "select turn_status, unfinished_turn, turn_since, waiting_calls from turnlog_sessions"

    async with SessionLog.open(settings) as log:
        session = log.session(OLD_SESSION, "u1")
        assert version_3.execute(columns).fetchall() == [(None, None, None, None)]
        assert [item.turn_status for item in (await log.list_sessions("u1")).items] == [None]
        await session.say("between")
        assert version_3.execute(columns).fetchall() == [("open", None, None, 0)]
        append_as_version_3(version_3, 6, ["text-delta.v1"])
        assert version_3.execute(columns).fetchall() == [(None, None, None, None)]
        assert (await log.list_sessions("u1", status="open")).total == 0
        assert await log.unfinished_turns("u1") == await log.waiting_tool_calls("u1") == ()
        assert [event.position async for event in session.events()] == [1, 2, 3, 4, 5, 6]

        # A rebuild says what is not known, and changes nothing that is.
        assert await log.rebuild_views() == 1
        assert version_3.execute(columns).fetchall() == [("open", None, None, 0)]
        version_3.execute("update turnlog_sessions set turn_status = 'failed'")
        await log.rebuild_views()
        assert version_3.execute(columns).fetchall() == [("failed", None, None, 0)]


async def test_an_append_of_version_4_finds_a_sequence_that_lags_once_the_schema_is_up_to_date(
    settings: Settings,
) -> None:
    with psycopg.connect(settings.database_url or "", autocommit=True) as old:
        old.execute(f"create schema {settings.database_schema}".encode())
        old.execute(f"set search_path to {settings.database_schema}".encode())
        old.execute((DATA / "schema-4.sql").read_bytes())
        append_as_version_3(old, 1, GOLDEN_TOPICS)
        old.execute("select setval('turnlog_events_positions', 1000)")
        append_as_version_3(old, 5, ["text-delta.v1"])
        old.execute("select setval('turnlog_events_positions', 500)")
        append_as_version_3(old, 6, ["text-delta.v1"])  # to that version it is not behind the log
        async with SessionLog.open(settings) as log:
            old.execute("select setval('turnlog_events_positions', 600)")
            with pytest.raises(psycopg.errors.UniqueViolation, match="lags the log") as refused:
                append_as_version_3(old, 7, ["text-delta.v1"])
            assert refused.value.diag.constraint_name == "turnlog_events_notification_id_idx"
            assert (await log.session(OLD_SESSION, "u1").view()).version == 6


async def test_a_log_of_version_5_keeps_what_decisions_rest_on_once_the_schema_is_up_to_date(
    settings: Settings,
) -> None:
    with psycopg.connect(settings.database_url or "", autocommit=True) as old:
        old.execute(f"create schema {settings.database_schema}".encode())
        old.execute(f"set search_path to {settings.database_schema}".encode())
        old.execute((DATA / "schema-5.sql").read_bytes())
        append_as_version_3(old, 1, GOLDEN_TOPICS)
        async with SessionLog.open(settings) as log:
            session = log.session(OLD_SESSION, "u1")
            await session.cancel()  # the step that was left open
            for number in range(64):
                await session.say(f"question {number}")
            await settled(log)
            (kept,) = old.execute("select session_id, position from turnlog_states").fetchall()
            assert kept[0] == OLD_SESSION
            assert kept[1] >= 64
            append_as_version_3(old, 4 + 66, ["text-delta.v1"])  # as a process of before goes on
            assert (await session.view()).version == 4 + 66


async def test_a_database_of_version_5_has_an_index_for_each_list_once_it_is_up_to_date(settings: Settings) -> None:
    old_list = """select session_id from turnlog_sessions where not deleted and user_id = 'u1'
        and turn_status = any('{open}'::text[]) order by updated_at desc, session_id limit 1"""
    with psycopg.connect(settings.database_url or "", autocommit=True) as old:
        old.execute(f"create schema {settings.database_schema}".encode())
        old.execute(f"set search_path to {settings.database_schema}".encode())
        old.execute((DATA / "schema-5.sql").read_bytes())
        append_as_version_3(old, 1, GOLDEN_TOPICS)
        async with SessionLog.open(settings) as log:
            append_as_version_3(old, 5, ["text-delta.v1"])
            session = log.session(OLD_SESSION, "u1")
            await session.say("Hi")
            assert old.execute(old_list).fetchall() == [(OLD_SESSION,)]
            assert [item.session_id for item in (await log.list_sessions("u1", status="open")).items] == [OLD_SESSION]
            assert [session_id async for session_id in log.session_ids("u1")] == [OLD_SESSION]
    names = "select indexname from pg_indexes where schemaname = current_schema() and tablename = 'turnlog_sessions'"
    assert {name.removeprefix("turnlog_sessions_") for (name,) in rows(settings, names)} == {
        "pkey", "writer", "unfinished", "waiting", "user", "newest", "by_status", "user_status", "user_ids",
    }  # fmt: skip


async def test_a_database_of_version_6_has_a_table_for_beginnings_once_it_is_up_to_date(settings: Settings) -> None:
    with psycopg.connect(settings.database_url or "", autocommit=True) as old:
        old.execute(f"create schema {settings.database_schema}".encode())
        old.execute(f"set search_path to {settings.database_schema}".encode())
        old.execute((DATA / "schema-6.sql").read_bytes())
        append_as_version_3(old, 1, GOLDEN_TOPICS)
        async with SessionLog.open(settings) as log:
            known = Prefix(b"beginning", OLD_SESSION, 4, b"system")
            await log.prefixes.keep([known])
            assert await log.prefixes.find([b"another", b"beginning"], b"next") == [known]
            append_as_version_3(old, 5, ["text-delta.v1"])  # as a process of before goes on
            assert (await log.session(OLD_SESSION, "u1").view()).version == 5


async def test_processes_that_upgrade_at_once_do_not_get_in_each_others_way(
    settings: Settings, version_1: psycopg.Connection[Any]
) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(Child(programs.append, settings, OLD_SESSION, name, 3)) for name in "abcd"]
        assert await asyncio.gather(*(child.hear() for child in children)) == ["ready"] * 4
        for child in children:
            child.say("go")
        assert await asyncio.gather(*(child.hear() for child in children)) == ["done"] * 4
    async with SessionLog.open(settings) as log:
        assert await log._parts.store.schema.version() == SCHEMA_VERSION
        assert (await log.session(OLD_SESSION, "u1").view()).version == 4 + 4 * 3 * 2
