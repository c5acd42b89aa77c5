"""Notices over Redis: "these sessions were appended to", published after the commit and never before.

A notice says where to look and nothing else. What happened is read from the log. So a notice that is lost, repeated,
late or garbage only changes the time of the next look: a poll loop looks at everything from time to time as well
(`poll_loop`).

There are two channels. `notices` names every session that was appended to, for followers. `stops` names the sessions in
which a step was ended from outside, for recordings: on `notices` every delta of all processes would wake them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from uuid import uuid4

from turnlog.infrastructure.channels import Channels, Listener
from turnlog.infrastructure.tasks import Drain

ID_BYTES = 16


class Notices:
    """Publishes which sessions this process has appended to. Never raises, and no append waits for it."""

    def __init__(self, channels: Channels, prefix: str) -> None:
        self._channels = channels
        self._prefix = prefix
        self._origin = uuid4().bytes
        self._unsaid: defaultdict[str, set[bytes]] = defaultdict(set)
        self._saying = Drain(self._unsaid, self._say)

    def say(self, channel: str, ids: Iterable[bytes]) -> None:
        """Publishes the sessions' ids. All that is said while a message is on its way goes into the next one."""
        self._unsaid[channel].update(ids)
        self._saying.start()

    def listener(
        self, channel: str, heard: Callable[[Iterable[bytes]], None], connected: Callable[[], None]
    ) -> Listener:
        """A listener to what other processes say on a channel: `heard` gets the sessions' ids."""
        return self._channels.listener(self._prefix + channel, lambda data: heard(self._ids_in(data)), connected)

    def _ids_in(self, message: bytes) -> list[bytes]:
        """The ids in a message of another process. A message of this process, or garbage, has none."""
        if len(message) % ID_BYTES or message.startswith(self._origin):
            return []
        return [message[start : start + ID_BYTES] for start in range(ID_BYTES, len(message), ID_BYTES)]

    async def close(self) -> None:
        """Waits until everything is published."""
        await self._saying.close()

    async def _say(self) -> None:
        name, ids = self._unsaid.popitem()
        await self._channels.publish(self._prefix + name, self._origin + b"".join(ids))
