"""Notices over Redis: "these sessions were appended to", published after the commit and never before.

A notice says where to look and nothing else; what happened is read from the log. So a notice that is lost, doubled,
late or garbage changes nothing but the time at which somebody looks (see `follow`, which also looks by itself).

Two channels: `notices` names every session that was appended to, for followers; `stops` names those in which a step
was ended from outside, for recordings, which would otherwise be woken by every delta of all processes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from turnlog.infrastructure.cache import Cache

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger("turnlog")

RETRY_SECONDS = 0.25
REFUSED_SECONDS = 10.0
"""Until a server that refuses a subscription is asked again."""
PING_SECONDS = 1.0
ID_BYTES = 16


class Notices:
    """Publishes what this process has stored. Never raises, and nobody waits for it."""

    def __init__(self, cache: Cache, connect: Callable[[], Redis | None], prefix: str) -> None:
        self._cache = cache
        self._connect = connect
        self._prefix = prefix
        self._origin = uuid4().bytes
        self._unsaid: defaultdict[str, set[bytes]] = defaultdict(set)
        self._saying: asyncio.Task[None] | None = None

    def say(self, channel: str, ids: Iterable[bytes]) -> None:
        """Publishes the sessions' ids: one message, also for all that is said while the last one is on its way."""
        self._unsaid[channel].update(ids)
        if self._saying is None:
            self._saying = asyncio.create_task(self._say())

    def listener(
        self, channel: str, heard: Callable[[Iterable[bytes]], None], connected: Callable[[], None]
    ) -> Listener:
        """Hears what other processes say on a channel: the ids go to `heard`."""
        return Listener(
            self._cache, self._connect, self._prefix + channel, lambda data: heard(self._ids_in(data)), connected
        )

    def _ids_in(self, message: Any) -> list[bytes]:
        """The ids in a message of another process; none in one of this process, or in garbage."""
        if not isinstance(message, bytes) or len(message) % ID_BYTES or message.startswith(self._origin):
            return []
        return [message[start : start + ID_BYTES] for start in range(ID_BYTES, len(message), ID_BYTES)]

    async def close(self) -> None:
        """Says what is unsaid."""
        while self._saying is not None:
            await asyncio.wait([self._saying])

    async def _say(self) -> None:
        try:
            while self._unsaid:
                name, ids = self._unsaid.popitem()
                await self._cache.attempt(partial(self._publish, self._prefix + name, self._origin + b"".join(ids)))
        finally:
            self._saying = None

    async def _publish(self, channel: str, message: bytes, client: Redis) -> None:
        from redis.exceptions import ResponseError  # noqa: PLC0415 see Cache

        try:
            await client.publish(channel, message)
        except ResponseError as error:  # the server is there, only not for this
            _warn_once("publish", str(error))


class Listener:
    """One subscription to one channel, while somebody wants it. It connects again for ever.

    `heard` gets the messages. `connected` is called whenever it begins to hear, for what was said before is lost.
    """

    def __init__(
        self,
        cache: Cache,
        connect: Callable[[], Redis | None],
        channel: str,
        heard: Callable[[Any], None],
        connected: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._connect = connect
        self._channel = channel
        self._heard = heard
        self._connected = connected
        self._task: asyncio.Task[None] | None = None
        self.hears = False
        """Whether it is connected: else somebody else has to look."""

    def start(self) -> None:
        """Begins to listen, if it does not."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends the subscription."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()  # a driver may swallow one in mid-connect
            await asyncio.wait([task], timeout=0.5)

    async def _run(self) -> None:
        from redis.exceptions import RedisError, ResponseError  # noqa: PLC0415 see Cache

        client = self._connect()
        if client is None:
            return
        failures = 0
        try:
            while True:
                try:
                    await self._listen(client)
                except ResponseError as error:
                    _warn_once("subscribe", str(error))
                    await asyncio.sleep(REFUSED_SECONDS)
                except (RedisError, OSError, TimeoutError) as error:
                    # A connection may be lost while the server is well; the second failure says that it is not.
                    failures = 1 if self.hears else failures + 1
                    if failures > 1:
                        self._cache.failed(error)
                finally:
                    self.hears = False
                if failures > 1:
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            with suppress(RedisError, OSError):
                await client.aclose()

    async def _listen(self, client: Redis) -> None:
        async with client.pubsub() as pubsub:
            await pubsub.subscribe(self._channel)
            is_asked = False
            while True:
                message = await pubsub.get_message(timeout=PING_SECONDS)
                if message is None:
                    if is_asked:
                        raise TimeoutError("Redis does not answer")
                    # A server that is frozen, or behind a cable that was cut, keeps a connection open.
                    await pubsub.ping()
                is_asked = message is None
                if message is not None:
                    self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._cache.answered()
            self.hears = True
            self._connected()
        elif message["type"] == "message":
            self._heard(message["data"])


@cache
def _warn_once(what: str, error: str) -> None:
    logger.warning("Redis refuses to %s (%s): followers hear of events by asking Postgres", what, error)
