"""The arena: processes that work on a log through the proxies, and the model that hears them."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Any, Literal
from uuid import UUID

from tests.chaos.calls import Call
from tests.chaos.model import Model
from tests.chaos.script import new_id
from tests.chaos.servers import Servers
from tests.chaos.talks import Stage, Till
from tests.chaos.worker import work
from tests.support.processes import Child
from turnlog.infrastructure.settings import Settings

PROCESSES = 2
CALLERS = 3
"""In each process."""
LEASE_SECONDS = 2.0
FINISH_SECONDS = 30.0
"""Everything that was asked is answered by then, once a fault is over."""
STAGE_SECONDS = 15.0
"""A turn gets to where a fault waits for it by then."""
Pace = Literal["brief", "usual", "long"]
"""How long faults last."""
_SIGNALS = ("ready", "settled", "done", "closed", "stage")


async def _nothing() -> None:
    pass


class Process:
    """A process under attack, and a thread that hears it."""

    def __init__(self, model: Model, number: int, settings: Settings, provider_url: str) -> None:
        self.number = number
        self._model = model
        self._loop = asyncio.get_running_loop()
        self._signals: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.child = Child(work, settings, CALLERS, provider_url)
        self.pid = 0
        self.is_gone = self._is_killed = False
        threading.Thread(target=self._listen, name=f"chaos-{number}", daemon=True).start()

    def _listen(self) -> None:
        with suppress(EOFError, OSError, Exception):
            while True:
                message = self.child._hear()
                if message[0] in _SIGNALS:
                    self._loop.call_soon_threadsafe(self._signals.put_nowait, message)
                else:
                    self._model.hear(self.number, message)
        self.is_gone = True
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._signals.put_nowait, ("gone",))

    async def wait(self, wanted: str) -> tuple[Any, ...] | None:
        """What the process says with this word; None if it is gone or says nothing in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                while (message := await self._signals.get())[0] not in (wanted, "gone"):
                    pass
                return message if message[0] == wanted else None
        return None

    async def reached(self, call_id: str, stage: Stage) -> bool:
        """Waits until the call has come this far. False if it has not in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STAGE_SECONDS):
                while (told := await self.wait("stage")) is not None:
                    if told == ("stage", call_id, stage):
                        return True
        return False

    def order(self, *order: Any) -> None:
        """Tells the process what to do, if it is there."""
        with suppress(OSError):
            self.child.say(order if len(order) > 1 or order[0] != "stop" else "stop")

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, if the process is there."""
        self._is_killed = self._is_killed or number == signal.SIGKILL
        with suppress(ProcessLookupError):
            self.child.send_signal(number)

    async def has_left(self) -> bool:
        """Whether the process is gone, and all that it has said was heard."""
        if self._is_killed and not self.is_gone:
            await self.wait("gone")
        return self.is_gone


class Arena:
    """Everything that faults may touch."""

    def __init__(self, servers: Servers, seed: int, pace: Pace = "usual") -> None:
        self.servers = servers
        self.seed = seed
        self._pace = pace
        self.model = Model()
        self.till = Till()
        self.settings = Settings(
            database_url=servers.database_url,
            redis_url=servers.redis_url,
            store_timeout_seconds=1.0,
            redis_timeout_seconds=0.3,
            lease_seconds=LEASE_SECONDS,
            reap_seconds=1.0,
        )
        self.processes: list[Process] = []
        self.rng = Random(seed)
        self.look: Callable[[], Awaitable[None]] = _nothing
        """Looks at everything now, as is done after the fault."""
        self.reports: list[dict[str, Any]] = []
        self._rounds = self._started = 0
        self._is_busy = False
        self._users: list[str] = []
        self._sessions: list[list[UUID]] = []

    @property
    def is_long(self) -> bool:
        """Whether faults may outlast every timeout."""
        return self._pace == "long"

    async def open(self) -> None:
        """Starts the processes."""
        for _ in range(PROCESSES):
            await self.add_process()

    async def add_process(self) -> Process:
        """One more process, which is ready."""
        self._started += 1
        process = Process(self.model, self._started, self.settings, self.till.url)
        self.processes.append(process)
        if await process.wait("ready") is None:
            self.model.wrong.append("a process did not start")
        return process

    def begin(self, rng: Random, *, same: bool = False) -> None:
        """The callers begin. Both processes call for the same users, and share a session of each. With `same` they go
        on in the sessions that they had before."""
        self._rounds += 1
        if not same or not self._users:
            self._users = [f"user-{self._rounds % 50}-{number}" for number in range(CALLERS)]
            self._sessions = [[new_id(rng) for _ in self._users] for _ in range(PROCESSES + 1)]
        for place, process in enumerate(self.processes[:PROCESSES]):
            name, seed = f"{self._rounds}-{place}", f"{rng.random()}"
            process.order("begin", name, seed, self._users, self._sessions[place], self._sessions[-1])
        self._is_busy = True

    def go_on(self) -> None:
        """The callers begin again, if they have come to an end."""
        if not self._is_busy:
            self.begin(Random(self.rng.random()), same=True)

    async def finish(self, lost: Iterable[Call] = ()) -> None:
        """The callers end, and ask again for what they were not told, for what processes that are gone were not told,
        and for what was lost."""
        if not self._is_busy:
            return
        self._is_busy = False
        inherited: list[Call] = list(lost)
        for process in [one for one in self.processes if await one.has_left()]:
            inherited += self.model.left_open(process.number)
            self.processes.remove(process)
            process.child.kill()
        while len(self.processes) < PROCESSES:
            await self.add_process()
        for process in self.processes:
            process.order("finish", inherited)
        for process in list(self.processes):
            await self._said(process, "settled")
        self.order_all("look")
        said = [await self._said(process, "done") for process in list(self.processes)]
        self.reports = [report[1] for report in said if report is not None]

    async def _said(self, process: Process, word: str) -> tuple[Any, ...] | None:
        """What the process says with this word. One that does not say it in time is replaced."""
        if (message := await process.wait(word)) is not None:
            return message
        self.model.wrong.append(f"process {process.number} has not come to an end after {FINISH_SECONDS:.0f} s")
        process.child.kill()
        self.processes.remove(process)
        await self.add_process()
        return None

    def order_all(self, *order: Any) -> None:
        """Tells all processes."""
        for process in self.processes:
            process.order(*order)

    async def hold(self, least: float, most: float, long: float = 0.0) -> None:
        """Lets the fault last. `long` is for long runs: longer than any timeout at times."""
        if self._pace == "brief":
            least, most = least / 3, most / 3
        if self.is_long and long and self.rng.random() < 0.3:
            most = long
        await asyncio.sleep(self.rng.uniform(least, most))

    def times(self, least: int, most: int) -> range:
        """How often a fault comes in a row."""
        return range(least if self._pace == "brief" else self.rng.randint(least, most))

    async def run(self, work: Any, *args: Any) -> Any:
        """Does blocking work beside the loop."""
        return await asyncio.to_thread(work, *args)

    async def close(self) -> None:
        """Ends the processes."""
        for process in self.processes:
            process.order("stop")
        for process in self.processes:
            await process.wait("closed")
            process.child.kill()
        await self.run(self.till.close)
