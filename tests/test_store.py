"""The store on a real Postgres: the library's own recorder cases, the schema, and what the database refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, StoredEvent
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase

from turnlog.domain.errors import SchemaVersionError
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.datastore import UrlDatastore
from turnlog.infrastructure.store.recorder import BatchRecorder
from turnlog.infrastructure.store.store import EventStore


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


def test_a_refused_batch_leaves_nothing_and_no_gap(recorder: BatchRecorder) -> None:
    rows = _rows(3)
    recorder.insert_events(rows)
    with pytest.raises(IntegrityError):
        recorder.insert_events([*_rows(5), rows[1]])

    assert recorder.insert_events(_rows(2)) == [4, 5]


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
        await asyncio.gather(*(store.prepare() for store in stores))
        assert [await store.schema_version() for store in stores] == [2] * 8
        assert len({store.log_id for store in stores}) == 1
        assert await stores[0].create_schema() == 2
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_the_schema_of_a_newer_version_is_refused(settings: Settings) -> None:
    async with SessionLog.open(settings):
        pass
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as admin:
        admin.execute(f"update {settings.database_schema}.turnlog_schema set version = 99")

    with pytest.raises(SchemaVersionError, match="has turnlog schema 99, this version needs 2: upgrade turnlog"):
        async with SessionLog.open(settings):
            pass
