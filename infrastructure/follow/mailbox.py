"""The mailbox of this process: other processes are told which sessions are followed here, and put their notices of
these into it."""

from __future__ import annotations

import time
from collections.abc import Collection

from turnlog.infrastructure.follow.notices import Heard, Notices
from turnlog.infrastructure.mailboxes import MAX_IDS, TTL_SECONDS
from turnlog.infrastructure.tasks import Drain


class Mailbox:
    """Open between `start` and `stop`. `followed` are the ids of the sessions that are followed here: a view that
    changes. `heard` gets those of which others say that something is new, and `look` those of which it is not known
    what was said before they were entered."""

    def __init__(self, notices: Notices, followed: Collection[bytes], heard: Heard, look: Heard) -> None:
        self._mailboxes = notices.mailboxes
        self._box = notices.box
        self._followed = followed
        self._look = look
        self._listener = notices.listener(heard, self._connected)
        self._changed = set[bytes]()
        self._telling = Drain(self._changed, self._tell)
        self._is_entered = False
        self._entered_at = 0.0

    @property
    def hears(self) -> bool:
        """Whether others know what is followed here, and are heard. While it is not so, only polling finds what is
        new."""
        return self._is_entered and self._listener.hears

    def start(self) -> None:
        """Begins to listen, unless it does already."""
        self._listener.start()

    async def stop(self) -> None:
        """Ends the subscription."""
        self._is_entered = False
        self._telling.start()
        await self._listener.stop()

    async def close(self) -> None:
        """Waits until others know that nothing is followed here."""
        self._telling.start()
        await self._telling.close()

    def follow(self, session_id: bytes) -> None:
        """The session is followed from now on."""
        self._changed.add(session_id)
        self._telling.start()

    def leave(self, session_id: bytes) -> None:
        """It is followed no more. Others are told with the next change, or by `renew`: this may be called by the
        garbage collector."""
        self._changed.add(session_id)

    def renew(self) -> None:
        """Says what has changed, and when it is time all that is followed: the entries expire, and may be lost."""
        if not self._is_entered or time.monotonic() > self._entered_at + TTL_SECONDS / 4:
            self._connected()
        self._telling.start()

    def _connected(self) -> None:
        """What was said before is lost, and so may be what others knew."""
        self._entered_at = time.monotonic()
        self._changed.update(list(self._followed))
        self._telling.start()

    async def _tell(self) -> None:
        ids = [self._changed.pop() for _ in range(min(MAX_IDS, len(self._changed)))]
        if left := [session_id for session_id in ids if session_id not in self._followed]:
            await self._mailboxes.leave(self._box, left)
        entered = [session_id for session_id in ids if session_id in self._followed]
        # A mailbox to which nobody listens yet would be taken for one that is gone. All are entered when it is open.
        if entered and self._listener.hears:
            self._is_entered = await self._mailboxes.enter(self._box, entered)
            self._look(entered)
