"""Real servers for the tests: one Postgres and one Valkey a test process, a schema of its own for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from random import Random

import psycopg
import psycopg_pool.base
import pytest
from hypothesis import settings as hypothesis_settings
from redis import Redis

from tests.support.killable_servers import KillableServers, short_lived_folder
from tests.support.memory_disk import quick_folder
from tests.support.proxy import Proxy
from tests.support.roles import AS_APPLICATION, as_application
from turnlog.infrastructure.embedded import EmbeddedServers, Servers
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings

# `make test` tries the same examples each time, so that a change is judged by itself; `make test-long` tries a thousand
# new ones. There is no deadline: how long an example takes says how busy the machine is.
EXAMPLES = os.environ.get("TURNLOG_TEST_EXAMPLES")
hypothesis_settings.register_profile(
    "turnlog", deadline=None, derandomize=EXAMPLES is None, max_examples=int(EXAMPLES or 60)
)
hypothesis_settings.load_profile("turnlog")

# The pool's threads draw from it at any time, and hypothesis refuses a strategy during which the global one changes.
psycopg_pool.base.random = Random().random

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores it for what it runs in the background, and so would the programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_NUMBERS = itertools.count(1)

STARTING_SERVERS = frozenset({"servers", "killable", "folder", "empty_folder"})
"""The fixtures that start servers."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that need servers, so that the others can be run alone."""
    for item in items:
        if isinstance(item, pytest.Function) and STARTING_SERVERS & set(item.fixturenames):
            item.add_marker(pytest.mark.servers)


@pytest.fixture(autouse=True)
def no_unmarked_servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test without the mark cannot start servers in this process."""

    def refused(_: EmbeddedServers) -> Servers:
        raise AssertionError("a test that starts servers by itself is marked with `servers`")

    if request.node.get_closest_marker("servers") is None:
        monkeypatch.setattr(EmbeddedServers, "start", refused)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Throw-away servers, shared by the tests of this process."""
    folder = quick_folder("turnlog-test-")
    embedded = EmbeddedServers(folder)
    try:
        yield embedded.start()
    finally:
        embedded.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings for an empty database schema of the test's own: a whole database would take ten times as long."""
    with _empty(servers, request) as given:
        yield given


@pytest.fixture
def settings_elsewhere(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings for another log than that of `settings`."""
    with _empty(servers, request) as given:
        yield given


@contextmanager
def _empty(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Settings]:
    assert servers.database_url is not None
    name = f"test_{next(_NUMBERS)}"
    given = Settings(database_url=servers.database_url, redis_url=servers.redis_url, database_schema=name)
    limited = AS_APPLICATION and request.node.get_closest_marker("owner") is None
    with as_application(given) if limited else nullcontext():
        yield given
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute("set client_min_messages = warning")
        admin.execute(f"drop schema if exists {name} cascade")


@pytest.fixture
async def log(settings: Settings) -> AsyncIterator[SessionLog]:
    """An open log on an empty database."""
    async with SessionLog.open(settings) as opened:
        yield opened


@pytest.fixture
async def log_elsewhere(settings_elsewhere: Settings) -> AsyncIterator[SessionLog]:
    """An open log that is another one, on a database of its own."""
    async with SessionLog.open(settings_elsewhere) as opened:
        yield opened


@pytest.fixture
async def other_log(settings: Settings) -> AsyncIterator[SessionLog]:
    """A second process, as far as the servers can tell."""
    async with SessionLog.open(settings) as opened:
        yield opened


@pytest.fixture
async def session(log: SessionLog) -> Session:
    """A session of the user u1."""
    return await log.start_session(user_id="u1")


@pytest.fixture(scope="module")
def killable() -> Iterator[KillableServers]:
    """Servers of a module's own, for the others' tests need theirs."""
    with short_lived_folder() as folder:
        pair = KillableServers(folder)
        try:
            yield pair
        finally:
            pair.close()


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    """A way to the database that can be cut."""
    with Proxy(settings.database_url or "") as running:
        yield running


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of the Redis that the log under test uses."""
    assert settings.redis_url is not None
    with Redis.from_url(settings.redis_url) as client:
        yield client
