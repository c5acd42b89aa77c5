"""What runs out."""

from __future__ import annotations

import signal
from typing import Any

from tests.chaos.arena import Arena
from tests.chaos.kinds import kind
from tests.chaos.servers import send


@kind("limit", "a process may open no more files, and its connections are reset")
async def no_files(arena: Arena) -> None:
    arena.order_all("limit_files", arena.rng.randint(0, 1))
    await arena.hold(0.02, 0.05)
    try:
        arena.servers.to_postgres.reset_all()
        arena.servers.to_redis.reset_all()
        await arena.hold(0.1, 0.3, 1.5)
    finally:
        arena.order_all("limit_files", None)


@kind("limit", "the disk of Postgres is full", needs_disk=True)
async def disk_full(arena: Arena) -> None:
    await arena.run(arena.servers.fill_disk)
    await arena.hold(0.2, 0.4, 2.0)


@kind("limit", "the disk of Postgres is full while it recovers from a crash", needs_disk=True)
async def disk_full_in_recovery(arena: Arena) -> None:
    await arena.run(arena.servers.fill_disk)
    send(arena.servers.postgres_processes(), signal.SIGKILL)
    await arena.hold(0.1, 0.2)


@kind("limit", "Redis has no memory left, and refuses writes")
async def redis_out_of_memory(arena: Arena) -> None:
    with arena.servers.redis() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        await arena.hold(0.1, 0.3, 1.5)


@kind("limit", "Redis has room for little, and drops entries")
async def redis_evicts(arena: Arena) -> None:
    with arena.servers.redis() as client:
        memory: Any = client.info("memory")
        used = int(memory["used_memory"])
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", str(used + 20_000))
        await arena.hold(0.1, 0.3, 1.5)
