"""Notices over Redis: "these sessions were appended to", published after the commit and never before.

A notice says where to look and nothing else; what happened is read from the log. So a notice that is lost, doubled,
late or garbage changes nothing but the time at which somebody looks (see `follow`, which also looks by itself).

Two channels: `notices` names every session that was appended to, for followers; `stops` names those in which a step
was ended from outside, for recordings, which would otherwise be woken by every delta of all processes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from uuid import uuid4

from turnlog.infrastructure.channels import Channels, Listener

ID_BYTES = 16


class Notices:
    """Publishes what this process has stored. Never raises, and nobody waits for it."""

    def __init__(self, channels: Channels, prefix: str) -> None:
        self._channels = channels
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
        return self._channels.listener(self._prefix + channel, lambda data: heard(self._ids_in(data)), connected)

    def _ids_in(self, message: bytes) -> list[bytes]:
        """The ids in a message of another process; none in one of this process, or in garbage."""
        if len(message) % ID_BYTES or message.startswith(self._origin):
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
                await self._channels.publish(self._prefix + name, self._origin + b"".join(ids))
        finally:
            self._saying = None
