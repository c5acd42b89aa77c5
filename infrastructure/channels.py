"""Channels of Redis: bytes that one process publishes and other processes hear. What they mean is for the caller to
know.

Nothing that Redis does raises here. A message may be lost, and nobody is told. An outage is counted and logged by the
cache, because both use the same server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from turnlog.infrastructure.cache import Cache
from turnlog.infrastructure.tasks import cancel_and_wait

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger("turnlog")

RETRY_SECONDS = 0.25
"""Seconds before connecting again to a server that is away."""
REFUSED_SECONDS = 10.0
"""Seconds before asking a server again that refused a subscription."""
PING_SECONDS = 1.0
"""Seconds of silence before a server is pinged, and then before it counts as lost."""
CANCEL_SECONDS = 0.5
"""Seconds before a listener is cancelled again: the driver can lose a cancellation while it connects."""


class Channels:
    """The channels of one server. `connect` makes a client for each listener."""

    def __init__(self, cache: Cache, connect: Callable[[], Redis | None]) -> None:
        self._cache = cache
        self._connect = connect

    async def publish(self, channel: str, message: bytes) -> None:
        """Publishes a message."""
        await self._cache.attempt(partial(_publish, channel, message))

    def listener(self, channel: str, heard: Callable[[bytes], None], connected: Callable[[], None]) -> Listener:
        """A listener to a channel, which is not started yet. `heard` gets the messages. `connected` is called each time
        that a subscription begins: what was said before is lost."""
        return Listener(self._cache, self._connect, channel, heard, connected)


class Listener:
    """A subscription to one channel, between `start` and `stop`. It connects again whenever it has to."""

    def __init__(
        self,
        cache: Cache,
        connect: Callable[[], Redis | None],
        channel: str,
        heard: Callable[[bytes], None],
        connected: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._connect = connect
        self._channel = channel
        self._heard = heard
        self._connected = connected
        self._task: asyncio.Task[None] | None = None
        self.hears = False
        """Whether the subscription is there. While it is not, only polling finds what is new."""

    def start(self) -> None:
        """Begins to listen, unless it does already."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends the subscription."""
        task, self._task = self._task, None
        await cancel_and_wait(task, again_after=CANCEL_SECONDS)

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
                    # One connection may be lost while the server is well. The second failure says that it is not.
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
                    # The connection to a frozen server, or through a cable that was cut, stays open.
                    await pubsub.ping()
                is_asked = message is None
                if message is not None:
                    self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._cache.answered()
            self.hears = True
            self._connected()
        elif message["type"] == "message" and isinstance(message["data"], bytes):
            self._heard(message["data"])


async def _publish(channel: str, message: bytes, client: Redis) -> None:
    from redis.exceptions import ResponseError  # noqa: PLC0415 see Cache

    try:
        await client.publish(channel, message)
    except ResponseError as error:  # the server is well, but does not allow this
        _warn_once("publish", str(error))


@cache
def _warn_once(what: str, error: str) -> None:
    logger.warning("Redis refuses to %s (%s): followers hear of events by asking Postgres", what, error)
