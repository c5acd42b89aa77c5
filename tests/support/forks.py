"""A process with an open log that is forked, and goes on in both halves."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from typing import Any

from tests.support.log_paths import Begun, errors_of
from tests.support.processes import Line
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.tables.usage import UsageProjection


async def fork_and_go_on(line: Line, settings: Settings) -> None:
    """Forks with an open log, between two runs of its loop. The child tries every way into the log, leaves it, and ends
    its copy of the loop. The parent goes on meanwhile and after that. It says what the child saw, whether all that it
    stored is there, and which of its connections it has lost."""
    line.say(await asyncio.to_thread(_fork_and_go_on, settings))


def _fork_and_go_on(settings: Settings) -> Any:
    loop = asyncio.new_event_loop()
    run = loop.run_until_complete
    opened = SessionLog.open(settings)
    log = run(opened.__aenter__())
    session, begun = run(_begin(log))
    before = _connections(log)
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, json.dumps(run(_tried(log, session, begun))).encode())
        run(opened.__aexit__(None, None, None))
        loop.close()
        del opened, log, session, begun, run, loop
        gc.collect()  # the finalisers of connections must not reach the parent's either
        os._exit(0)
    os.close(writing)
    outcome = run(_go_on(session, begun, reading))
    outcome = (*outcome, sorted(before - _connections(log)))
    run(opened.__aexit__(None, None, None))
    loop.close()
    return outcome


async def _begin(log: SessionLog) -> tuple[Session, Begun]:
    session = await log.start_session("u1")
    begun = Begun(session, [await log.start_session("u1") for _ in range(2)])
    await begun.begin()
    await session.say("before")
    await log.projections.catch_up(UsageProjection())
    return session, begun


async def _tried(log: SessionLog, session: Session, begun: Begun) -> list[tuple[str, str]]:
    try:
        async with asyncio.timeout(20):
            return [each async for each in errors_of(log, session, begun)]
    except TimeoutError:
        return [("a call", "did not return")]


async def _go_on(session: Session, begun: Begun, reading: int) -> tuple[Any, bool]:
    texts = [await _say(session, number) for number in range(50)]
    tried = json.loads(await asyncio.to_thread(_read_all, reading))
    texts += [await _say(session, number) for number in range(50, 60)]
    await begun.paths["text"]()
    contents = [message["content"] for message in (await session.view()).messages]
    return tried, contents == ["before", *texts]


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


async def _say(session: Session, number: int) -> str:
    await asyncio.wait_for(session.say(f"{number}"), 5)
    return f"{number}"


def _connections(log: SessionLog) -> set[str]:
    """What tells the log's connections from those that would take their place."""
    store, redis = log._parts.store, log._parts.views._cache._calls._client
    assert redis is not None
    pool = {f"pool {connection.info.backend_pid}" for connection in store._datastore.pool._pool}
    clients = {*redis.connection_pool._available_connections, *redis.connection_pool._in_use_connections}
    caches = {f"redis {id(connection._writer)}" for connection in clients}
    return {f"wire {log._parts.group_commit._wire.number}", *pool, *caches}
