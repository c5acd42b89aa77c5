"""Asking the servers directly: with the reason if they do not answer, and without creating anything."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from turnlog.domain.errors import StoreError
from turnlog.infrastructure.composition import opened_store
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.tables.catching_up import Lag, read_lags

_SETTINGS = """
select current_setting('server_version') as server_version, current_setting('server_version_num')::int as number,
    current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit,
    current_setting('full_page_writes') as full_page_writes, current_setting('transaction_read_only') as read_only,
    current_database() as database, current_user::text as user
"""


@dataclass(frozen=True, slots=True)
class PostgresProbe:
    """What Postgres answered. `error` if it did not answer, `schema_error` if its schema could not be read."""

    error: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    version_number: int = 0
    schema_version: int | None = None
    schema_error: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    lags: list[Lag] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """What Redis answered; `error` if it did not answer."""

    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


async def probe_postgres(settings: Settings) -> PostgresProbe:
    """Connects, and reads the settings that durability depends on, the schema version and the counts."""
    try:
        said = await asyncio.to_thread(_settings, settings.database_url or "", settings.store_timeout_seconds)
    except psycopg.Error as error:
        return PostgresProbe(error=_first_line(error))
    number = said.pop("number")
    try:
        schema_version, counts, lags = await _schema(settings)
    except StoreError as error:
        return PostgresProbe(settings=said, version_number=number, schema_error=_first_line(error))
    return PostgresProbe(settings=said, version_number=number, schema_version=schema_version, counts=counts, lags=lags)


def _settings(url: str, timeout: float) -> dict[str, Any]:
    # Not through the pool, which says only that it has waited too long.
    with psycopg.connect(url, connect_timeout=max(2, round(timeout)), row_factory=dict_row) as connection:
        return connection.execute(_SETTINGS).fetchone() or {}


async def _schema(settings: Settings) -> tuple[int | None, dict[str, int], list[Lag]]:
    async with opened_store(settings) as store:
        version = await store.schema.version()
        if version is None:
            return None, {}, []
        statistics = await store.schema.statistics()
        lags = await store.run(read_lags, store.recorder, store.mapper)
    return version, {name: value for name, value in statistics.items() if isinstance(value, int)}, lags


async def probe_redis(settings: Settings) -> RedisProbe:
    """Connects, and reads which server it is and how full."""
    from redis.asyncio import Redis  # noqa: PLC0415 importing redis takes a third of a second
    from redis.asyncio.retry import Retry  # noqa: PLC0415 a driver
    from redis.backoff import NoBackoff  # noqa: PLC0415 a driver
    from redis.exceptions import RedisError  # noqa: PLC0415 a driver

    timeout = settings.redis_timeout_seconds
    limits: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    try:
        async with Redis.from_url(settings.redis_url or "", retry=Retry(NoBackoff(), 0), **limits) as client:
            began = time.perf_counter()
            await client.ping()
            trip = time.perf_counter() - began
            return RedisProbe(facts=_redis_facts(await client.info(), trip))
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        return RedisProbe(error=_first_line(error))


def _redis_facts(info: dict[str, Any], trip: float) -> dict[str, Any]:
    name = str(info.get("server_name", "redis"))
    limit = "unlimited" if not info.get("maxmemory") else str(info.get("maxmemory_human"))
    return {
        "server": f"{name} {info.get(f'{name}_version') or info.get('redis_version')}",
        "round_trip_ms": round(trip * 1000, 2),
        "memory": f"{info.get('used_memory_human')} of {limit}, {info.get('maxmemory_policy')}",
        "hits": info.get("keyspace_hits", 0),
        "misses": info.get("keyspace_misses", 0),
    }


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
