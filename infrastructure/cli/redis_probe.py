"""Asking Redis: all that an open log asks it for is asked once, so that what it refuses is found before a log meets it.

An entry is written, added to, read and removed under a key of its own, and one mailbox is entered, told and left.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from secrets import token_bytes
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from turnlog.domain.errors import InvalidInputError
from turnlog.infrastructure.cache import Cache
from turnlog.infrastructure.cache_entry import Signer
from turnlog.infrastructure.channels import Channels
from turnlog.infrastructure.composition import redis_client
from turnlog.infrastructure.mailboxes import Mailboxes
from turnlog.infrastructure.redis_calls import RedisCalls, reason
from turnlog.infrastructure.redis_refusals import NO_CONNECTION, WRONG_TYPE, Kind, Said, refusal_code, refused
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.urls import without_secrets

if TYPE_CHECKING:
    from redis.asyncio import Redis

_ENTRY_SECONDS = 10.0
"""How long what is written stays where it may not be removed."""


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """What Redis answered; `error` if it did not answer. `refused` is what it does not do."""

    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    refused: tuple[Said, ...] = ()


class _Tried(RedisCalls):
    """Calls that are all made, whatever became of those before, and what each kind of them met."""

    def __init__(self, client: Redis | None) -> None:
        super().__init__(client)
        self.codes: dict[str, list[Kind]] = {}
        self.lost: Exception | None = None
        self.subscribed = asyncio.Event()
        """Whether the subscription is there, or has failed."""

    def failed(self, kind: Kind, error: Exception) -> str | None:
        """Keeps what a call met, and logs nothing."""
        code = refusal_code(error)
        if code is None:
            self.lost = self.lost or error
        elif code not in (WRONG_TYPE, NO_CONNECTION) and kind not in self.codes.setdefault(code, []):
            self.codes[code].append(kind)
        if kind == "subscribe":
            self.subscribed.set()
        return code


async def probe_redis(settings: Settings) -> RedisProbe:
    """Connects, reads which server it is and how full, and tries what a log does with it."""
    url = settings.redis_url or ""
    try:
        calls = _Tried(redis_client(settings))
    except InvalidInputError as error:
        return RedisProbe(error=str(error))
    try:
        facts = await _facts(calls)
        if calls.lost is None:
            await _use(calls, settings)
    finally:
        await calls.close()
    if calls.lost is not None:
        return RedisProbe(error=without_secrets(reason(calls.lost), url))
    return RedisProbe(facts=facts, refused=tuple(refused(kinds, code) for code, kinds in calls.codes.items()))


async def _facts(calls: _Tried) -> dict[str, Any]:
    began = time.perf_counter()
    if await calls.attempt("read", lambda client: client.ping()) is None:
        return {}
    facts = {"round_trip_ms": round((time.perf_counter() - began) * 1000, 2)}
    told: list[dict[str, Any]] = []

    async def ask(client: Redis) -> None:
        with suppress(Exception):  # a user who may not ask for it can do all that turnlog needs
            told.append(await client.info())

    await calls.attempt("read", ask)
    return {**_server(told[0]), **facts} if told else facts


def _server(info: dict[str, Any]) -> dict[str, Any]:
    name = str(info.get("server_name", "redis"))
    limit = "unlimited" if not info.get("maxmemory") else str(info.get("maxmemory_human"))
    return {
        "server": f"{name} {info.get(f'{name}_version') or info.get('redis_version')}",
        "memory": f"{info.get('used_memory_human')} of {limit}, {info.get('maxmemory_policy')}",
        "hits": info.get("keyspace_hits", 0),
        "misses": info.get("keyspace_misses", 0),
    }


async def _use(calls: _Tried, settings: Settings) -> None:
    """Makes each kind of call that a log makes."""
    prefix = settings.cache_prefix
    signer = Signer(token_bytes(32))
    cache = Cache(calls, signer, prefix=prefix, log_id="doctor", schema=0, ttl_seconds=_ENTRY_SECONDS)
    key = cache.key(uuid4(), "view")
    entry = cache.made(key, 1, [b"{}"], b"{}")
    await cache.put(entry)
    await cache.put(cache.made(key, 2, [b"{}"], b"{}", entry), entry)
    await cache.get(key)
    await cache.drop(key)
    channels, mailboxes = Channels(calls, partial(redis_client, settings)), Mailboxes(calls, prefix, f"{prefix}doctor")
    box, ids = uuid4().hex, [uuid4().bytes]
    listener = channels.listener(mailboxes.channel(box), lambda _: None, calls.subscribed.set)
    listener.start()
    with suppress(TimeoutError):
        async with asyncio.timeout(2 * settings.redis_timeout_seconds):
            await calls.subscribed.wait()
    await mailboxes.enter(box, ids)
    await mailboxes.tell("", b"", ids)
    await mailboxes.leave(box, ids)
    await listener.stop()
