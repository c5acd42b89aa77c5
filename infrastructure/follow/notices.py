"""Notices over Redis: "these sessions were appended to", published after the commit and never before.

A notice says where to look and nothing else. What happened is read from the log. So a notice that is lost, repeated,
late, garbage or forged only changes the time of the next look: a poll loop looks at everything from time to time as
well (`poll_loop`). Whoever floods a channel causes no more than `VAIN_LOOKS` looks and one in `VAIN_SECONDS`.

There are two channels. `notices` names every session that was appended to, for followers. `stops` names the sessions in
which a step was ended from outside, for recordings: on `notices` every delta of all processes would wake them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from uuid import uuid4

from turnlog.infrastructure.channels import Channels, Listener
from turnlog.infrastructure.tasks import Drain

ID_BYTES = 16
MAX_BYTES = 64 * 1024
"""Size of the largest message: a longer one is garbage."""
VAIN_LOOKS = 20
"""Looks in a row that may find nothing. After that, each waits `VAIN_SECONDS`."""
VAIN_SECONDS = 0.05


class Patience:
    """Slows looks down that notices cause and that find nothing, one after the other."""

    def __init__(self) -> None:
        self._in_vain = 0

    def rewarded(self) -> None:
        """A look has found something."""
        self._in_vain = 0

    async def disappointed(self) -> None:
        """A look that a notice has caused has found nothing. Returns when the next one may begin."""
        self._in_vain += 1
        if self._in_vain > VAIN_LOOKS:
            await asyncio.sleep(VAIN_SECONDS)


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
        if len(message) % ID_BYTES or len(message) > MAX_BYTES or message.startswith(self._origin):
            return []
        return [message[start : start + ID_BYTES] for start in range(ID_BYTES, len(message), ID_BYTES)]

    async def close(self) -> None:
        """Waits until everything is published."""
        await self._saying.close()

    async def _say(self) -> None:
        name, unsaid = self._unsaid.popitem()
        ids = b"".join(unsaid)
        for start in range(0, len(ids), MAX_BYTES - ID_BYTES):
            await self._channels.publish(self._prefix + name, self._origin + ids[start : start + MAX_BYTES - ID_BYTES])
