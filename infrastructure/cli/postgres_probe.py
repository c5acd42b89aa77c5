"""Asking Postgres directly: with the reason if it does not answer, and without creating anything."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import psycopg

from turnlog.domain.errors import StoreError, UnfitDatabaseError
from turnlog.infrastructure.composition import opened_store
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.connecting import Door
from turnlog.infrastructure.store.examination import pooler_faults
from turnlog.infrastructure.tables.catching_up import Lag, read_lags
from turnlog.infrastructure.urls import without_secrets

_SETTINGS = """
select current_setting('server_version') as server_version,
    current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit,
    current_setting('full_page_writes') as full_page_writes, current_setting('transaction_read_only') as read_only,
    current_database() as database, current_user::text as user
"""


@dataclass(frozen=True, slots=True)
class PostgresProbe:
    """What Postgres answered. `error` if it did not answer; `fault` is why a log cannot be opened on it."""

    error: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    schema_version: int | None = None
    fault: StoreError | None = None
    counts: dict[str, int] = field(default_factory=dict)
    lags: list[Lag] = field(default_factory=list)


async def probe_postgres(settings: Settings) -> PostgresProbe:
    """Connects and examines as an open does, and reads the settings that durability depends on, and the counts."""
    url = settings.database_url or ""
    try:
        said = await asyncio.to_thread(_settings, url, settings.store_timeout_seconds)
    except psycopg.Error as error:
        return PostgresProbe(error=without_secrets(_first_line(error), url))
    except UnfitDatabaseError as fault:
        return PostgresProbe(fault=fault)
    try:
        schema_version, counts, lags = await _schema(settings)
    except StoreError as fault:
        return PostgresProbe(settings=said, fault=fault)
    return PostgresProbe(settings=said, schema_version=schema_version, counts=counts, lags=lags)


def _settings(url: str, timeout: float) -> dict[str, Any]:
    # Not through the pool, which says only that it has waited too long.
    with pooler_faults(), Door(url, timeout).connect() as connection, connection.transaction():
        return connection.execute(_SETTINGS).fetchone() or {}


async def _schema(settings: Settings) -> tuple[int | None, dict[str, int], list[Lag]]:
    async with opened_store(settings) as store:
        version = (await store.schema.examine()).version
        if version is None:
            return None, {}, []
        statistics = await store.schema.statistics()
        lags = await store.run(read_lags, store.recorder, store.mapper)
    return version, {name: value for name, value in statistics.items() if isinstance(value, int)}, lags


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
