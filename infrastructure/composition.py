"""Opening a log: its servers, its connections and its parts. Each part is closed before the ones that it needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from turnlog.domain.errors import InvalidInputError, TurnlogError
from turnlog.infrastructure.answer.answer import close_answers
from turnlog.infrastructure.append.stream_recorder import stop_all
from turnlog.infrastructure.append.writer_lease import WriterLease
from turnlog.infrastructure.cache import Cache
from turnlog.infrastructure.cache_entry import Signer
from turnlog.infrastructure.channels import Channels
from turnlog.infrastructure.follow.notices import Notices
from turnlog.infrastructure.follow.session_watcher import SessionWatcher
from turnlog.infrastructure.log_parts import LogParts
from turnlog.infrastructure.mailboxes import Mailboxes
from turnlog.infrastructure.observer import Gauges, Observer
from turnlog.infrastructure.process import Home, close_in_children
from turnlog.infrastructure.read.prompts import Prompts
from turnlog.infrastructure.read.view_parts import ViewParts
from turnlog.infrastructure.read.views import Views
from turnlog.infrastructure.redis_calls import RedisCalls
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.tasks import Background, cancel_and_wait, spawned
from turnlog.infrastructure.telemetry import observer_for
from turnlog.infrastructure.urls import without_secrets
from turnlog.projections.projector import VIEW_SCHEMA

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection

    from turnlog.infrastructure.store.appends import Append
    from turnlog.infrastructure.store.group_commit import GroupCommit
    from turnlog.infrastructure.store.store import EventStore

TIME_SECONDS = 600.0
"""Seconds between two questions for the time of the database."""
LAG_SECONDS = 15.0
"""Seconds between two looks at how far projections are behind, for telemetry."""

# The drivers take longer to import than most commands take to run: they are loaded when a log is opened.


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[LogParts]:
    """The parts of a log. All that was accepted is stored on leaving. Raises what `SessionLog.open` raises."""
    home = Home()
    async with AsyncExitStack() as stack:
        settings = await stack.enter_async_context(running_servers(settings))
        store = await stack.enter_async_context(opened_store(settings))
        home.closes(store.refuse)
        await store.schema.prepare()
        await store.schema.set_clock()
        stack.push_async_callback(cancel_and_wait, spawned(_keep_time(store), "keeping the time"))
        calls = RedisCalls(redis_client(settings))
        stack.push_async_callback(calls.close)
        signer = Signer(await store.schema.cache_secret())
        cache = _cache(settings, calls, signer, store.schema.log_id)
        notices = _opened_notices(settings, calls, store.schema.log_id, stack)
        group_commit = _opened_group_commit(settings, store, stack)
        background = Background()
        stack.push_async_callback(background.close)
        lease = WriterLease(store.leases, settings.lease_seconds)
        stack.push_async_callback(lease.close)
        observer = observer_for(settings)
        views = Views(store, cache, background, observer)
        watcher = SessionWatcher(store, views, notices)
        stack.push_async_callback(watcher.close)
        parts = LogParts(
            home=home,
            settings=settings,
            store=store,
            group_commit=group_commit,
            views=views,
            view_parts=ViewParts(store, views),
            prompts=Prompts(store, cache, views, background, settings.prompt_memory_bytes),
            watcher=watcher,
            background=background,
            lease=lease,
            observer=observer,
        )
        _observe(parts, stack)
        stack.push_async_callback(stop_all, parts.stream_recorders)
        stack.push_async_callback(close_answers, parts.answers)
        stack.callback(home.let_go, stack)
        yield parts


def _observe(parts: LogParts, stack: AsyncExitStack) -> None:
    """Tells the watcher, and the observer if somebody listens, what is stored; and the latter what else there is."""
    group_commit, watcher, observer = parts.group_commit, parts.watcher, parts.observer
    group_commit.on_stored = watcher.stored
    if observer.is_silent:
        return

    def stored(appends: Sequence[Append]) -> None:
        watcher.stored(appends)
        observer.stored(appends)

    group_commit.on_stored = stored
    gauges = Gauges(
        events=lambda: group_commit.statistics.events,
        commits=lambda: group_commit.statistics.commits,
        failed=lambda: group_commit.statistics.failed,
        queued=lambda: group_commit.queued,
        followers=lambda: watcher.statistics().followers,
        followed=lambda: watcher.statistics().sessions,
        follow_reads=lambda: watcher.statistics().reads,
    )
    stack.callback(observer.opened(gauges))
    stack.push_async_callback(cancel_and_wait, spawned(_tell_lags(parts.store, observer), "telling of projections"))


async def _tell_lags(store: EventStore, observer: Observer) -> None:
    from turnlog.infrastructure.tables.catching_up import read_lags  # noqa: PLC0415 a driver

    while True:
        with suppress(TurnlogError):
            observer.lags(await store.run(read_lags, store.recorder, store.mapper))
        await asyncio.sleep(LAG_SECONDS)


async def _keep_time(store: EventStore) -> None:
    while True:
        await asyncio.sleep(TIME_SECONDS)
        with suppress(TurnlogError):
            await store.schema.set_clock()


@asynccontextmanager
async def running_servers(settings: Settings) -> AsyncIterator[Settings]:
    """The settings with a URL for each server. An embedded server runs meanwhile for each URL that was missing. Raises
    EmbeddedServersError."""
    needs_postgres, needs_redis = settings.database_url is None, settings.redis_url is None
    if not (needs_postgres or needs_redis):
        yield settings
        return
    from turnlog.infrastructure.embedded import EmbeddedServers, default_data_dir  # noqa: PLC0415 needs a Unix

    data_dir = settings.data_dir or default_data_dir()
    embedded = EmbeddedServers(data_dir, postgres=needs_postgres, redis=needs_redis)
    servers = await asyncio.to_thread(embedded.start)
    try:
        yield settings.with_urls(
            settings.database_url or servers.database_url, settings.redis_url or servers.redis_url, data_dir
        )
    finally:
        await asyncio.to_thread(embedded.close)


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[EventStore]:
    """The store as it is: no schema is created. Raises InvalidInputError for what libpq does not take as a URL."""
    from turnlog.infrastructure.store.connecting import check_url  # noqa: PLC0415 a driver
    from turnlog.infrastructure.store.store import EventStore  # noqa: PLC0415 a driver

    url = settings.database_url or ""
    check_url(url)
    store = EventStore(url, schema=settings.database_schema, timeout=settings.store_timeout_seconds)
    try:
        yield store
    finally:
        await store.close()


def _cache(settings: Settings, calls: RedisCalls, signer: Signer, log_id: str) -> Cache:
    return Cache(
        calls,
        signer,
        prefix=settings.cache_prefix,
        log_id=log_id,
        schema=VIEW_SCHEMA,
        ttl_seconds=settings.cache_ttl_seconds,
    )


def _opened_notices(settings: Settings, calls: RedisCalls, log_id: str, stack: AsyncExitStack) -> Notices | None:
    if settings.redis_url in (None, "none"):
        return None
    prefix = f"{settings.cache_prefix}{log_id}:"
    mailboxes = Mailboxes(calls, prefix, f"{prefix}notices")
    notices = Notices(Channels(calls, partial(redis_client, settings)), mailboxes, prefix)
    stack.push_async_callback(notices.close)
    return notices


def _opened_group_commit(settings: Settings, store: EventStore, stack: AsyncExitStack) -> GroupCommit:
    from turnlog.infrastructure.store.group_commit import GroupCommit  # noqa: PLC0415 a driver

    group_commit = GroupCommit(
        store.recorder,
        store.append_wire(),
        max_queued_events=settings.max_queued_events,
        max_queued_bytes=settings.max_queued_bytes,
        retry_seconds=settings.store_timeout_seconds,
        wait_seconds=settings.commit_wait_ms / 1000,
    )
    stack.push_async_callback(group_commit.close)
    return group_commit


def redis_client(settings: Settings) -> Redis | None:
    """A client, which connects when it is used; None where no Redis is wanted. Raises InvalidInputError for what the
    driver does not take as a URL."""
    if settings.redis_url in (None, "none"):
        return None
    from redis.asyncio import Redis  # noqa: PLC0415 a driver
    from redis.asyncio.retry import Retry  # noqa: PLC0415 a driver
    from redis.backoff import NoBackoff  # noqa: PLC0415 a driver

    timeout = settings.redis_timeout_seconds
    try:
        client = Redis.from_url(
            settings.redis_url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=_connected,
        )
        # An option that the driver does not know would else be found at the first call.
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except (ValueError, TypeError) as error:
        # Without its cause, which may quote the URL.
        raise InvalidInputError("redis_url", without_secrets(str(error), settings.redis_url)) from None
    return client


async def _connected(connection: AbstractConnection) -> None:
    close_in_children(connection, _fileno)
    await connection.on_connect()


def _fileno(connection: AbstractConnection) -> int:
    writer = connection._writer  # noqa: SLF001 the driver has no other way to it
    assert writer is not None  # noqa: S101 as any other error, it says that the connection is closed
    return int(writer.get_extra_info("socket").fileno())
