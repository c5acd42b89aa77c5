"""What Redis holds is changed, by a fault or by somebody."""

from __future__ import annotations

from typing import Any

from redis import Redis

from tests.chaos.arena import Arena
from tests.chaos.kinds import kind


def _keys(arena: Arena, client: Redis) -> list[bytes]:
    """The keys of what is worked on, in an order that the seed decides."""
    found: Any = client.keys("turnlog:*")
    sessions = {str(session_id).encode() for session_id in set(arena.model.touched)}
    keys = sorted(key for key in found if any(part in sessions for part in key.split(b":")))
    arena.rng.shuffle(keys)
    return keys


async def _each_time(arena: Arena, change: Any) -> None:
    """Lets entries come, and changes them, several times."""
    with arena.servers.redis() as client:
        for _ in arena.times(1, 4):
            await arena.hold(0.03, 0.08)
            change(client, _keys(arena, client)[:40])
        await arena.finish()
        change(client, _keys(arena, client))  # nobody writes any more: who looks next finds it
        await arena.look()


def _strings(client: Redis, keys: list[bytes]) -> dict[bytes, bytes]:
    found: Any = {key: client.get(key) for key in keys if client.type(key) == b"string"}
    return {key: value for key, value in found.items() if value}


@kind("redis", "a bit of an entry is flipped")
async def bits_flipped(arena: Arena) -> None:
    def change(client: Redis, keys: list[bytes]) -> None:
        for key, value in _strings(client, keys).items():
            changed = bytearray(value)
            changed[arena.rng.randrange(len(changed))] ^= 1 << arena.rng.randrange(8)
            client.set(key, bytes(changed))

    await _each_time(arena, change)


@kind("redis", "entries of different sessions are swapped")
async def entries_swapped(arena: Arena) -> None:
    def change(client: Redis, keys: list[bytes]) -> None:
        found = _strings(client, keys)
        by_shape: dict[bytes, list[bytes]] = {}
        for key in found:  # views with views, and prompts with prompts
            by_shape.setdefault(key.rpartition(b":")[2] if key.count(b":") > 3 else b"", []).append(key)
        for same in by_shape.values():
            for key, other in zip(same, same[1:] + same[:1], strict=True):
                client.set(key, found[other])

    await _each_time(arena, change)


@kind("redis", "entries are cut off")
async def entries_truncated(arena: Arena) -> None:
    def change(client: Redis, keys: list[bytes]) -> None:
        for key, value in _strings(client, keys).items():
            client.set(key, value[: arena.rng.randrange(len(value))])

    await _each_time(arena, change)


@kind("redis", "older entries are put back")
async def entries_replayed(arena: Arena) -> None:
    old: dict[bytes, bytes] = {}

    def change(client: Redis, keys: list[bytes]) -> None:
        for key, value in old.items():
            client.set(key, value)
        old.update({key: value for key, value in _strings(client, keys).items() if key not in old})

    await _each_time(arena, change)


@kind("redis", "entries hold anything")
async def entries_garbage(arena: Arena) -> None:
    def change(client: Redis, keys: list[bytes]) -> None:
        for key in keys:
            client.set(key, arena.rng.choice((b"", b"[]", b"null", b"\xff" * 60, arena.rng.randbytes(100))))

    await _each_time(arena, change)


@kind("redis", "entries are of another type")
async def entries_of_another_type(arena: Arena) -> None:
    def change(client: Redis, keys: list[bytes]) -> None:
        for key in keys:
            together = client.pipeline()  # or an entry is written in between
            together.delete(key)
            together.rpush(key, b"x") if arena.rng.random() < 0.5 else together.hset(key, "a", "b")
            together.execute()

    await _each_time(arena, change)


@kind("redis", "entries say a later position than they are of")
async def entries_from_the_future(arena: Arena) -> None:
    def change(client: Redis, keys: list[bytes]) -> None:
        for key, value in _strings(client, keys).items():
            digits = [at for at, byte in enumerate(value[:60]) if 48 <= byte <= 57]
            if digits:
                client.setrange(key, arena.rng.choice(digits), b"%d" % arena.rng.randrange(10))

    await _each_time(arena, change)


@kind("redis", "entries vanish one by one")
async def entries_deleted(arena: Arena) -> None:
    await _each_time(arena, lambda client, keys: client.delete(*keys) if keys else None)


@kind("redis", "Redis is emptied")
async def redis_flushed(arena: Arena) -> None:
    await _each_time(arena, lambda client, _: client.flushall())


@kind("redis", "Redis takes no writes, as a replica")
async def redis_read_only(arena: Arena) -> None:
    with arena.servers.redis() as client:
        client.replicaof("127.0.0.1", "1")
        try:
            await arena.hold(0.1, 0.3, 1.5)
        finally:
            client.replicaof("NO", "ONE")


@kind("redis", "Redis refuses commands that it knows")
async def redis_no_permission(arena: Arena) -> None:
    with arena.servers.redis() as client:
        client.execute_command("ACL", "SETUSER", "default", "-@write", "-@scripting")
        try:
            await arena.hold(0.1, 0.3, 1.5)
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+@all")


@kind("redis", "somebody publishes nonsense on every channel")
async def channels_garbage(arena: Arena) -> None:
    def change(client: Redis, _: list[bytes]) -> None:
        channels: Any = client.pubsub_channels()
        for channel in channels:
            client.publish(channel, arena.rng.choice((b"", b"-1", b"9" * 30, b"\xff\xfe", b"{}")))

    await _each_time(arena, change)


@kind("redis", "connections to Redis are ended by its administrator")
async def redis_clients_killed(arena: Arena) -> None:
    await _each_time(
        arena, lambda client, _: client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    )


@kind("redis", "the script that writes entries is forgotten")
async def redis_scripts_flushed(arena: Arena) -> None:
    await _each_time(arena, lambda client, _: client.script_flush())
