"""Logs that go back: what was acknowledged is lost, and what is remembered of it must not be believed."""

from __future__ import annotations

import signal
from random import Random

from tests.chaos.arena import Arena
from tests.chaos.kinds import kind
from tests.chaos.servers import DATABASE

_TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}' and pid <> pg_backend_pid()"


async def _admin(arena: Arena, *statements: str) -> None:
    for statement in statements:
        await arena.run(arena.servers.execute, statement, "postgres")


async def _copied(arena: Arena, source: str, copy: str) -> None:
    """Makes a copy of a database that nobody is connected to."""
    await _admin(
        arena,
        f"drop database if exists {copy} with (force)",
        f"alter database {source} allow_connections false",
        _TERMINATE.format(source),
        f"create database {copy} template {source} owner app",
        f"alter database {source} allow_connections true",
    )


async def _put_back(arena: Arena, copy: str) -> None:
    """The copy takes the place of the database."""
    await _admin(
        arena,
        f"alter database {DATABASE} allow_connections false",
        _TERMINATE.format(DATABASE),
        f"drop database {DATABASE} with (force)",
        f"alter database {copy} rename to {DATABASE}",
    )


async def _worked(arena: Arena) -> None:
    """A round of work, to its end."""
    arena.begin(Random(arena.rng.random()), same=True)
    await arena.hold(0.1, 0.25)
    await arena.finish()


@kind("failover", "the database is restored from an older copy, on the same Redis, under running processes")
async def restored(arena: Arena) -> None:
    await arena.finish()
    await _copied(arena, DATABASE, "older")
    mark = arena.model.mark()
    await _worked(arena)
    await _put_back(arena, "older")
    arena.model.rewind(mark)
    await _go_on(arena)


@kind("failover", "the database is restored, and other processes go on with what Redis has")
async def restored_and_restarted(arena: Arena) -> None:
    await arena.finish()
    await _copied(arena, DATABASE, "older")
    mark = arena.model.mark()
    await _worked(arena)
    for process in arena.processes:
        process.send_signal(signal.SIGKILL)
        await process.has_left()
    await _put_back(arena, "older")
    arena.model.rewind(mark)
    await _go_on(arena)


async def _go_on(arena: Arena) -> None:
    """The same callers ask again for all that was lost, and new ones come."""
    lost = arena.model.lost()
    arena.begin(Random(arena.rng.random()), same=True)
    await arena.hold(0.1, 0.2)
    await arena.finish(lost)


@kind("failover", "the database is restored twice, and diverges each time")
async def restored_twice(arena: Arena) -> None:
    await arena.finish()
    await _copied(arena, DATABASE, "oldest")
    mark = arena.model.mark()
    for _ in range(2):
        await _worked(arena)
        await _copied(arena, "oldest", "older")
        await _put_back(arena, "older")
        arena.model.rewind(mark)
    await _go_on(arena)
    await _admin(arena, "drop database oldest with (force)")


@kind("failover", "an address leads to another server for a while, which has the log as it was")
async def other_server(arena: Arena) -> None:
    await arena.finish()
    await _copied(arena, DATABASE, "other")
    mark = arena.model.mark()
    await _worked(arena)
    await _admin(
        arena,
        f"alter database {DATABASE} allow_connections false",
        _TERMINATE.format(DATABASE),
        f"alter database {DATABASE} rename to newer",
        f"alter database other rename to {DATABASE}",
    )
    await arena.hold(0.05, 0.1)
    await _admin(arena, "drop database newer with (force)")
    arena.model.rewind(mark)
    await _go_on(arena)


@kind("failover", "a standby that lacks the last commits is promoted, and the address leads there", is_slow=True)
async def standby_promoted(arena: Arena) -> None:
    await arena.finish()
    standby = await arena.run(arena.servers.back_up)
    mark = arena.model.mark()
    await _worked(arena)
    await arena.run(arena.servers.promote, standby)
    arena.model.rewind(mark)
    await _go_on(arena)


@kind("failover", "a standby without the last commits is promoted under callers at work", is_slow=True)
async def standby_promoted_under_work(arena: Arena) -> None:
    await arena.finish()
    standby = await arena.run(arena.servers.back_up)
    mark = arena.model.mark()
    arena.go_on()
    arena.order_all("expect_losses")
    await arena.hold(0.1, 0.25)
    arena.servers.to_postgres.rules.refuses = True
    arena.servers.to_postgres.reset_all()
    await arena.run(arena.servers.promote, standby)
    arena.model.rewind(mark)
    arena.servers.to_postgres.heal()
    await arena.finish(arena.model.lost())
