"""Notices over Redis: "these sessions were appended to", published after the commit and never before.

A notice says where to look and nothing else. What happened is read from the log. So a notice that is lost, repeated,
late, garbage or forged only changes the time of the next look: a poll loop looks at everything from time to time as
well (`poll_loop`). Whoever floods a channel causes no more than `VAIN_LOOKS` looks and one in `VAIN_SECONDS`.

There are two kinds. That a session was appended to is put into the mailboxes of those who follow it (`mailboxes`), and
nowhere else. Many commits share a message, because behind each is a short pause. And `stops` is a channel that names
the sessions in which a step was ended from outside, for recordings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from uuid import uuid4

from turnlog.infrastructure.channels import Channels, Listener
from turnlog.infrastructure.mailboxes import ID_BYTES, MAX_IDS, Mailboxes
from turnlog.infrastructure.tasks import Drain

MAX_BYTES = 64 * 1024
"""Size of the largest message: a longer one is garbage."""
VAIN_LOOKS = 20
"""Looks in a row that may find nothing. After that, each waits `VAIN_SECONDS`."""
VAIN_SECONDS = 0.05
PAUSE_A_SESSION, LONGEST_PAUSE = 0.0002, 0.05
"""Seconds between two messages: for each session that was named within about a second, and at most."""
UNHEARD_PAUSE = 0.05
"""Seconds before the next message, where nobody has heard the last one."""


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


Heard = Callable[[Iterable[bytes]], None]
"""Gets the ids of the sessions that a notice names."""


class Notices:
    """Publishes what this process has done, and listens to others. Never raises, and no append waits for it. `box` is
    the name of this process' mailbox."""

    def __init__(self, channels: Channels, mailboxes: Mailboxes, prefix: str) -> None:
        self._channels = channels
        self.mailboxes = mailboxes
        self._stops = f"{prefix}stops"
        origin = uuid4()
        self._origin, self.box = origin.bytes, origin.hex
        self._appended, self._stopped = set[bytes](), set[bytes]()
        self._telling = Drain(self._appended, self._tell)
        self._stopping = Drain(self._stopped, self._tell_of_stops)
        self._closing = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._second = 0.0
        self._lately, self._before = set[bytes](), set[bytes]()

    def appended(self, ids: Iterable[bytes]) -> None:
        """These sessions were appended to. All that is said until the next message goes into it."""
        self._appended.update(ids)
        self._telling.start()

    def stopped(self, ids: Iterable[bytes]) -> None:
        """Steps of these sessions were ended, which other processes may be writing."""
        self._stopped.update(ids)
        self._stopping.start()

    def listener(self, heard: Heard, connected: Callable[[], None]) -> Listener:
        """A listener to the mailbox of this process."""
        return self._listener(self.mailboxes.channel(self.box), heard, connected)

    def listener_to_stops(self, heard: Heard, connected: Callable[[], None]) -> Listener:
        """A listener to which steps other processes have ended."""
        return self._listener(self._stops, heard, connected)

    async def close(self) -> None:
        """Waits until everything is published."""
        self._closing.set()
        await self._telling.close()
        await self._stopping.close()

    def _listener(self, channel: str, heard: Heard, connected: Callable[[], None]) -> Listener:
        return self._channels.listener(channel, lambda data: heard(self._ids_in(data)), connected)

    def _ids_in(self, message: bytes) -> list[bytes]:
        """The ids in a message of another process. A message of this process, or garbage, has none."""
        if len(message) % ID_BYTES or len(message) > MAX_BYTES or message.startswith(self._origin):
            return []
        return [message[start : start + ID_BYTES] for start in range(ID_BYTES, len(message), ID_BYTES)]

    async def _tell(self) -> None:
        ids = [self._appended.pop() for _ in range(min(MAX_IDS, len(self._appended)))]
        heard = await self.mailboxes.tell(self.box, self._origin, ids)
        if self._appended and len(ids) == MAX_IDS:
            return
        pause = min(PAUSE_A_SESSION * self._named(ids), LONGEST_PAUSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause if heard else UNHEARD_PAUSE):
                await self._closing.wait()

    def _named(self, ids: Iterable[bytes]) -> int:
        """How many sessions were named within a second or two, with these."""
        now = self._loop.time()
        if now > self._second + 1.0:
            self._second, self._before, self._lately = now, self._lately, set()
        self._lately.update(ids)
        return max(len(self._lately), len(self._before))

    async def _tell_of_stops(self) -> None:
        most = MAX_BYTES // ID_BYTES - 1
        ids = [self._stopped.pop() for _ in range(min(most, len(self._stopped)))]
        await self._channels.publish(self._stops, self._origin + b"".join(ids))
