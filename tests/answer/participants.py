"""Participants: logs that are open on the same servers, each on an event loop and a thread of its own.

A participant can be held at any instant, as SIGSTOP holds a process: nothing of it runs any more, its lease runs out,
and it notices nothing of that. One that is not let go before everything is looked at counts as killed: a dead process
does no more and no less than one that is held for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from turnlog import SessionLog, Settings

T = TypeVar("T")


class Participant:
    """One open log. `is_dead`: it is held, and never let go while anybody looks."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.log: SessionLog
        self.is_held = self.is_dead = False
        self.times_held = 0
        self._settings = settings
        self._gate = threading.Event()
        self._gate.set()
        self._is_open = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    async def open(self) -> Participant:
        """Opens the log."""
        self._thread.start()
        await asyncio.to_thread(self._is_open.wait, 30)
        if self._error is not None:
            raise self._error
        return self

    def _main(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 raised where it is waited for
            self._error = error
        finally:
            self._is_open.set()

    async def _live(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        async with SessionLog.open(self._settings) as self.log:
            self._is_open.set()
            await self._closing.wait()

    @property
    def writer_id(self) -> str:
        """The id under which it writes now: another one once its lease has run out."""
        return self.log._parts.lease.writer_id

    def call(self, work: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        """What the work gives, which is done on the participant's loop."""

        async def run() -> T:
            return await work()

        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self._loop))

    def hold(self, *, dies: bool) -> None:
        """Holds it between two callbacks of its loop. From another thread."""
        self._is_to_be_held(dies)
        self._loop.call_soon_threadsafe(self._gate.wait)

    def hold_here(self, *, dies: bool) -> None:
        """Holds it where it is now. On its own thread."""
        self._is_to_be_held(dies)
        self._gate.wait()

    def _is_to_be_held(self, dies: bool) -> None:
        self._gate.clear()
        self.is_held, self.is_dead = True, dies
        self.times_held += 1

    def let_go(self) -> None:
        """It goes on as if nothing had happened."""
        self.is_held = False
        self._gate.set()

    async def close(self) -> None:
        """Lets it go and closes its log."""
        self.let_go()
        self._loop.call_soon_threadsafe(self._closing.set)
        await asyncio.to_thread(self._thread.join, 30)
        assert not self._thread.is_alive(), f"{self.name} does not close"
        if self._error is not None:
            raise self._error
