"""A log that takes short messages only."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.inputs import LIMIT
from turnlog import Settings
from turnlog.infrastructure.embedded import Servers


@pytest.fixture(scope="package")
def settings(servers: Servers) -> Iterator[Settings]:
    """One schema for all tests here, for they are many and leave nothing behind."""
    assert servers.database_url is not None
    yield Settings(
        database_url=servers.database_url,
        redis_url=servers.redis_url,
        database_schema="test_inputs",
        max_message_bytes=LIMIT,
    )
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute("set client_min_messages = warning")
        admin.execute("drop schema if exists test_inputs cascade")
