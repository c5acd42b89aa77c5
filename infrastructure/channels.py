"""Channels of Redis: bytes that one process publishes and other processes hear. What they mean is for the caller to
know.

Nothing that Redis does raises here. A message may be lost, and nobody is told. Outages and refusals are counted and
logged with those of the cache (`redis_calls`), because both use the same server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from turnlog.infrastructure.redis_calls import RedisCalls
from turnlog.infrastructure.redis_refusals import refusal_code
from turnlog.infrastructure.tasks import cancel_and_wait, spawned

if TYPE_CHECKING:
    from redis.asyncio import Redis

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

    def __init__(self, calls: RedisCalls, connect: Callable[[], Redis | None]) -> None:
        self._calls = calls
        self._connect = connect

    async def publish(self, channel: str, message: bytes) -> None:
        """Publishes a message."""
        await self._calls.attempt("publish", lambda client: client.publish(channel, message))

    def listener(self, channel: str, heard: Callable[[bytes], None], connected: Callable[[], None]) -> Listener:
        """A listener to a channel, which is not started yet. `heard` gets the messages. `connected` is called each time
        that a subscription begins: what was said before is lost."""
        return Listener(self._calls, self._connect, channel, heard, connected)


class Listener:
    """A subscription to one channel, between `start` and `stop`. It connects again whenever it has to."""

    def __init__(
        self,
        calls: RedisCalls,
        connect: Callable[[], Redis | None],
        channel: str,
        heard: Callable[[bytes], None],
        connected: Callable[[], None],
    ) -> None:
        self._calls = calls
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
            self._task = spawned(self._run(), f"listening to {self._channel}")

    async def stop(self) -> None:
        """Ends the subscription."""
        task, self._task = self._task, None
        await cancel_and_wait(task, again_after=CANCEL_SECONDS)

    async def _run(self) -> None:
        client, failures = None, 0
        try:
            while True:
                pause = 0.0
                try:
                    client = client or self._connect()  # which reads a file, and that can fail
                    if client is None:
                        return
                    await self._listen(client)
                except Exception as error:  # noqa: BLE001 what a server sends can make the driver raise anything
                    # One connection may be lost while the server is well. The second failure says that it is not.
                    failures = 1 if self.hears else failures + 1
                    if refusal_code(error) is not None:
                        pause = REFUSED_SECONDS
                    elif failures > 1:
                        pause = RETRY_SECONDS
                    if pause:
                        self._calls.failed("subscribe", error)
                finally:
                    self.hears = False
                await asyncio.sleep(pause)
        finally:
            if client is not None:
                with suppress(Exception):
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
            self._calls.answered("subscribe")
            self.hears = True
            self._connected()
        elif message["type"] == "message" and isinstance(message["data"], bytes):
            self._heard(message["data"])
