"""Servers to measure on: databases of the run's own, so that nothing of the user's is touched or left behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Composed, Identifier
from redis import Redis

from turnlog.domain.errors import StoreUnavailableError
from turnlog.infrastructure.embedded import EmbeddedServers, Servers

_SETTINGS = SQL("""
select current_setting('server_version') as server_version, current_setting('fsync') as fsync,
    current_setting('synchronous_commit') as synchronous_commit
""")
_TABLE_BYTES = SQL("""
select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace
""")


class Ground:
    """A Postgres, with a database for each system that is measured, and where one is asked for a Redis.

    The numbers that it gives count everything on the server: nobody else may use it meanwhile.
    """

    def __init__(self, server_url: str, redis_url: str | None) -> None:
        self.redis_url = redis_url
        self._server_url = server_url
        self._names: dict[str, str] = {}
        self._admin = _connected(server_url)
        self._redis = Redis.from_url(redis_url) if redis_url else None

    def database(self, system: str) -> str:
        """The URL of the system's own database, empty at its first use."""
        if system not in self._names:
            name = f"turnlog_bench_{token_hex(4)}"
            self._run(SQL("create database {}").format(Identifier(name)))
            self._names[system] = name
        return make_conninfo(self._server_url, dbname=self._names[system])

    def wal_bytes(self) -> int:
        """Bytes of write-ahead log since the server was made."""
        return _number(self._admin, SQL("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"))

    def table_bytes(self, system: str) -> int:
        """Bytes of the system's tables, with indexes and what is stored out of line."""
        with psycopg.connect(self.database(system), autocommit=True) as connection:
            return _number(connection, _TABLE_BYTES)

    def redis_traffic(self) -> tuple[int, int]:
        """Bytes that Redis was sent, and that it gave, since it was started."""
        found: dict[str, Any] = self._redis.info("stats") if self._redis else {}
        return int(found.get("total_net_input_bytes", 0)), int(found.get("total_net_output_bytes", 0))

    def postgres_process(self) -> int:
        """The process of Postgres that serves the run itself; it is one of the server's machine."""
        return self._admin.info.backend_pid

    def redis_cpu(self) -> float | None:
        """Seconds of processor time that Redis has taken since it was started; None without one."""
        if self._redis is None:
            return None
        found: dict[str, Any] = self._redis.info("cpu")
        return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])

    def settings(self) -> dict[str, Any]:
        """What of Postgres' settings belongs beside a number."""
        cursor = self._admin.execute(_SETTINGS)
        row = cursor.fetchone() or ()
        return dict(zip([column.name for column in cursor.description or ()], row, strict=True))

    def close(self) -> None:
        """Drops the databases."""
        for name in self._names.values():
            self._run(SQL("drop database {} with (force)").format(Identifier(name)))
        self._admin.close()
        if self._redis:
            self._redis.close()

    def _run(self, statement: Composed) -> None:
        try:
            self._admin.execute(statement)
        except psycopg.Error as error:
            raise StoreUnavailableError(f"Postgres: {error}") from error


@contextmanager
def fresh_ground(database_url: str | None, redis_url: str | None = None, *, redis: bool = True) -> Iterator[Ground]:
    """Empty databases on these servers; a server that is not named is a throw-away embedded one, with its defaults.

    Raises StoreUnavailableError where Postgres cannot be reached or refuses a new database.
    """
    with ExitStack() as stack:
        needs_redis = redis and redis_url is None
        if database_url is None or needs_redis:
            servers = stack.enter_context(_embedded(postgres=database_url is None, redis=needs_redis)).start()
            database_url, redis_url = database_url or servers.database_url, redis_url or servers.redis_url
        ground = Ground(database_url or "", redis_url if redis else None)
        stack.callback(ground.close)
        yield ground


@contextmanager
def throw_away_servers() -> Iterator[Servers]:
    """An embedded Postgres and an embedded Valkey, which are gone afterwards with all that was on them."""
    with _embedded(postgres=True, redis=True) as embedded:
        yield embedded.start()


@contextmanager
def _embedded(*, postgres: bool, redis: bool) -> Iterator[EmbeddedServers]:
    folder = Path(tempfile.mkdtemp(prefix="turnlog-bench-"))
    try:
        with EmbeddedServers(folder, postgres=postgres, redis=redis) as embedded:
            yield embedded
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _connected(url: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.Error as error:
        raise StoreUnavailableError(f"Postgres: {error}") from error


def _number(connection: psycopg.Connection[Any], query: SQL) -> int:
    row: tuple[Any, ...] | None = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
