"""The servers without a log on them: for commands that must look before a schema is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from turnlog.infrastructure.embedded import EmbeddedServers, default_data_dir
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.store import EventStore


class Running(NamedTuple):
    """Settings with a URL for each server, and which of them are embedded."""

    settings: Settings
    embedded_postgres: bool
    embedded_redis: bool


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Starts an embedded server for each URL that is not given. Raises EmbeddedServersError."""
    postgres, redis = settings.database_url is None, settings.redis_url is None
    if not (postgres or redis):
        yield Running(settings, False, False)
        return
    data_dir = settings.data_dir or default_data_dir()
    embedded = EmbeddedServers(data_dir, postgres=postgres, redis=redis)
    started = await asyncio.to_thread(embedded.start)
    urls = {
        "database_url": settings.database_url or started.database_url,
        "redis_url": settings.redis_url or started.redis_url,
        "data_dir": data_dir,
    }
    try:
        yield Running(settings.model_copy(update=urls), postgres, redis)
    finally:
        await asyncio.to_thread(embedded.close)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[EventStore]:
    """The store as it is: nothing is created."""
    store = EventStore(
        settings.database_url or "", schema=settings.database_schema, timeout=settings.store_timeout_seconds
    )
    try:
        yield store
    finally:
        await store.close()
