"""Faults of the network between turnlog and its servers."""

from __future__ import annotations

from functools import partial

from tests.chaos.arena import Arena
from tests.chaos.kinds import kind
from tests.chaos.proxy import Cut, Proxy

_EXCHANGE_SECONDS = 0.3


@kind("network", "every connection to Postgres is reset")
async def postgres_reset(arena: Arena) -> None:
    for _ in arena.times(1, 3):
        arena.servers.to_postgres.reset_all()
        await arena.hold(0.01, 0.05)


@kind("network", "every connection to Postgres is closed, as by a server that ends")
async def postgres_closed(arena: Arena) -> None:
    arena.servers.to_postgres.close_all()
    await arena.hold(0.01, 0.05)


@kind("network", "nothing passes to or from Postgres, and the connections stay open")
async def postgres_black_hole(arena: Arena) -> None:
    rules = arena.servers.to_postgres.rules
    rules.loses_requests = rules.loses_answers = True
    await arena.hold(0.1, 0.3, 2.0)
    arena.servers.to_postgres.reset_all()


@kind("network", "Postgres gets what is sent, and no answer comes back")
async def postgres_answers_lost(arena: Arena) -> None:
    arena.servers.to_postgres.rules.loses_answers = True
    await arena.hold(0.1, 0.3, 2.0)
    arena.servers.to_postgres.reset_all()


@kind("network", "nothing reaches Postgres for a while, and then all of it")
async def postgres_requests_held_up(arena: Arena) -> None:
    arena.servers.to_postgres.rules.loses_requests = True
    await arena.hold(0.1, 0.4, 1.5)


@kind("network", "every piece to and from Postgres is late")
async def postgres_delay(arena: Arena) -> None:
    arena.servers.to_postgres.rules.delay = arena.rng.choice((0.005, 0.02, 0.08))
    await arena.hold(0.2, 0.3, 1.5)


@kind("network", "what passes to and from Postgres comes in pieces of a few bytes")
async def postgres_slow_drip(arena: Arena) -> None:
    arena.servers.to_postgres.rules.drip = arena.rng.choice((1, 7, 40))
    await arena.hold(0.2, 0.3, 1.5)


@kind("network", "connections to Postgres are reset, and new ones refused")
async def postgres_refused(arena: Arena) -> None:
    arena.servers.to_postgres.rules.refuses = True
    arena.servers.to_postgres.reset_all()
    await arena.hold(0.05, 0.2, 2.0)


@kind("network", "connections to Postgres are reset, and nobody answers new ones")
async def postgres_deaf(arena: Arena) -> None:
    arena.servers.to_postgres.rules.is_deaf = True
    arena.servers.to_postgres.reset_all()
    await arena.hold(0.1, 0.3, 2.0)


async def _cut(arena: Arena, proxy: Proxy, cut: Cut, *, appends: bool) -> None:
    """Cuts a few exchanges."""
    for _ in arena.times(1, 4):
        await arena.run(partial(proxy.cut_one, cut, appends=appends, seconds=_EXCHANGE_SECONDS))


@kind("network", "a request to Postgres is cut in the middle")
async def postgres_half_request(arena: Arena) -> None:
    await _cut(arena, arena.servers.to_postgres, "half_request", appends=False)


@kind("network", "an append is lost before it reaches Postgres")
async def append_lost(arena: Arena) -> None:
    await _cut(arena, arena.servers.to_postgres, "request", appends=True)


@kind("network", "an append is committed, and its answer is lost")
async def append_answer_lost(arena: Arena) -> None:
    await _cut(arena, arena.servers.to_postgres, "answer", appends=True)


@kind("network", "half of the answer to an append arrives")
async def append_half_answer(arena: Arena) -> None:
    await _cut(arena, arena.servers.to_postgres, "half_answer", appends=True)


@kind("network", "half of the answer to any question of Postgres arrives")
async def postgres_half_answer(arena: Arena) -> None:
    await _cut(arena, arena.servers.to_postgres, "half_answer", appends=False)


@kind("network", "every connection to Redis is reset")
async def redis_reset(arena: Arena) -> None:
    for _ in arena.times(1, 3):
        arena.servers.to_redis.reset_all()
        await arena.hold(0.01, 0.05)


@kind("network", "nothing passes to or from Redis, and the connections stay open")
async def redis_black_hole(arena: Arena) -> None:
    rules = arena.servers.to_redis.rules
    rules.loses_requests = rules.loses_answers = True
    await arena.hold(0.1, 0.4, 1.5)


@kind("network", "every piece to and from Redis is late")
async def redis_delay(arena: Arena) -> None:
    arena.servers.to_redis.rules.delay = arena.rng.choice((0.005, 0.05, 0.4))
    await arena.hold(0.2, 0.3, 1.5)


@kind("network", "what passes to and from Redis comes in pieces of a few bytes")
async def redis_slow_drip(arena: Arena) -> None:
    arena.servers.to_redis.rules.drip = arena.rng.choice((1, 7, 40))
    await arena.hold(0.2, 0.3, 1.5)


@kind("network", "connections to Redis are reset, and new ones refused")
async def redis_refused(arena: Arena) -> None:
    arena.servers.to_redis.rules.refuses = True
    arena.servers.to_redis.reset_all()
    await arena.hold(0.1, 0.2, 1.5)


@kind("network", "a request to Redis is cut in the middle")
async def redis_half_request(arena: Arena) -> None:
    await _cut(arena, arena.servers.to_redis, "half_request", appends=False)


@kind("network", "half of an answer of Redis arrives")
async def redis_half_answer(arena: Arena) -> None:
    await _cut(arena, arena.servers.to_redis, "half_answer", appends=False)


@kind("network", "Postgres and Redis are out of reach at the same time")
async def both_refused(arena: Arena) -> None:
    for proxy in (arena.servers.to_postgres, arena.servers.to_redis):
        proxy.rules.refuses = True
        proxy.reset_all()
    await arena.hold(0.05, 0.2, 2.0)
