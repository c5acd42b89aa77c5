"""A run: injections one after the other, and what became of each."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from tests.chaos.arena import LEASE_SECONDS, Arena, Pace
from tests.chaos.checks import Checker
from tests.chaos.kinds import Kind
from tests.chaos.servers import Servers

MOST_LINES = 400
"""Log lines of a process in a round."""
MOST_MEMORY = 1 << 30
"""Bytes of a process."""
MOST_FILES = 120
REMEMBERED = 60
"""Sessions that the model remembers. Of older ones only a digest of their events is kept."""
BEFORE = (0.02, 0.08)
"""Seconds of work before the fault, at least and at most; the same again after it."""


@dataclass(slots=True)
class Injection:
    """One fault, and what was wrong after it."""

    kind: str
    number: int
    seconds: float
    wrong: list[str]
    seed: int = 0

    @property
    def held(self) -> bool:
        """Whether nothing was wrong."""
        return not self.wrong


@dataclass(slots=True)
class Outcome:
    """What a run has come to, or several at the same time."""

    seeds: list[int]
    injections: list[Injection] = field(default_factory=list)
    acknowledged: int = 0
    tried: int = 0
    seconds: float = 0.0
    at_the_end: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """Everything that was wrong, with what brings it about again."""
        found = [f"seed {one.seed}, {one.kind} {one.number}: {what}" for one in self.injections for what in one.wrong]
        return found + self.at_the_end

    def add(self, other: Outcome) -> None:
        """Adds a run that went on at the same time."""
        self.seeds += other.seeds
        self.injections += other.injections
        self.at_the_end += other.at_the_end
        self.acknowledged += other.acknowledged
        self.tried += other.tried
        self.seconds = max(self.seconds, other.seconds)


class Run:
    """Injects faults into one arena."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.checker = Checker(arena.servers, arena.settings, arena.model, arena.till)
        self._sealed: dict[UUID, tuple[int, str]] = {}
        self._was_held = True
        arena.look = self._look_now

    @classmethod
    @asynccontextmanager
    async def open(cls, servers: Servers, seed: int, pace: Pace = "usual") -> AsyncIterator[Run]:
        """Processes for a run on these servers."""
        arena = Arena(servers, seed, pace)
        try:
            await arena.open()
            yield cls(arena)
        finally:
            await arena.close()

    async def inject(self, kinds: Sequence[Kind], number: int) -> Injection:
        """An injection of a kind: callers at work, the fault, its end, and a look at everything. Of several kinds: one
        after the other, and one look."""
        arena, began = self.arena, time.perf_counter()
        names = "+".join(kind.name for kind in kinds)
        arena.rng = Random(f"{arena.seed} {names} {number}")
        arena.model.begin()
        # Sessions in which something was wrong are left alone: it would be told again each time.
        arena.begin(Random(arena.rng.random()), same=arena.rng.random() < 0.5 and self._was_held)
        await arena.hold(*BEFORE)
        wrong = [what for kind in kinds for what in await self._inject(kind)]
        await arena.hold(*BEFORE)
        await arena.finish()
        wrong = list(dict.fromkeys(wrong + await self.looked()))
        self._seal()
        self._was_held = not wrong
        return Injection(names, number, time.perf_counter() - began, wrong, arena.seed)

    async def _inject(self, kind: Kind) -> list[str]:
        wrong = []
        self.arena.go_on()
        try:
            await kind.inject(self.arena)
        except Exception as error:  # noqa: BLE001 the next injection must not suffer
            wrong.append(f"the fault itself failed: {''.join(traceback.format_exception(error)[-2:])}")
        await self._heal()
        return wrong

    async def _heal(self) -> None:
        await self.arena.run(self.arena.servers.heal)
        with self.arena.servers.redis() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", "256mb")

    async def _look_now(self) -> None:
        self.arena.model.wrong += await self.looked()

    async def looked(self) -> list[str]:
        """Everything that is wrong now. The callers are at rest."""
        arena = self.arena
        try:
            wrong = await self.checker.faults(len(arena.processes) + 1)
        except Exception as error:  # noqa: BLE001 a look that fails is a finding
            wrong = [f"could not look: {''.join(traceback.format_exception(error)[-2:])}"]
        wrong += arena.model.wrong
        arena.model.wrong = []
        for report in arena.reports:
            wrong += [
                f"a process has {name} {report[name]:,}"
                for name, most in (("lines", MOST_LINES), ("memory", MOST_MEMORY), ("files", MOST_FILES))
                if report[name] > most
            ]
        return wrong

    def _seal(self) -> None:
        """Forgets the oldest sessions, and keeps a digest of their events."""
        model = self.arena.model
        old = [each for each in list(model.by_session)[:-REMEMBERED] if each not in model.touched]
        for session_id, digest in self._digests(old).items():
            self._sealed[session_id] = digest
        for session_id in old:
            model.forget(session_id)

    def _digests(self, session_ids: Sequence[UUID]) -> dict[UUID, tuple[int, str]]:
        """For each session the number of its events and a digest of them."""
        if not session_ids:
            return {}
        with self.arena.servers.admin() as admin:
            rows = admin.execute(
                """select originator_id, count(*), md5(string_agg(md5(state) || topic, ',' order by originator_version))
                from turnlog_events where originator_id = any(%s) group by 1""",
                (list(session_ids),),
            )
            return {row[0]: (row[1], row[2]) for row in rows}

    async def ended(self) -> list[str]:
        """What is wrong at the end: steps that nobody ends, and sealed sessions that have changed."""
        await asyncio.sleep(LEASE_SECONDS * 1.5)
        wrong = await self.checker.open_steps()
        ids = list(self._sealed)
        for first in range(0, len(ids), 5_000):
            now = self._digests(ids[first : first + 5_000])
            wrong += [
                f"session {each} has changed since" for each in ids[first : first + 5_000] if self._differs(each, now)
            ]
        return wrong

    def _differs(self, session_id: UUID, now: dict[UUID, tuple[int, str]]) -> bool:
        count, digest = self._sealed[session_id]
        later, other = now.get(session_id, (0, ""))
        return later < count or (later == count and digest != other)


@asynccontextmanager
async def running_servers(disk_megabytes: int) -> AsyncIterator[Servers]:
    """Servers to attack."""
    servers = await asyncio.to_thread(Servers, disk_megabytes)
    try:
        yield servers
    finally:
        await asyncio.to_thread(servers.close)


async def run(
    chosen: Sequence[Kind],
    injections: int,
    seed: int,
    *,
    first: int = 0,
    pace: Pace = "usual",
    told: Callable[[Injection], None] = lambda _: None,
) -> Outcome:
    """Injects the kinds in turn, so often in all, into servers of its own. `first` is the number of the first one of
    each kind."""
    outcome, began = Outcome([seed]), time.perf_counter()
    async with running_servers(4096 if pace == "long" else 1024) as servers, Run.open(servers, seed, pace) as running:
        usable = [kind for kind in chosen if servers.has_disk or not kind.needs_disk]
        for number in range(injections):
            injection = await running.inject([usable[number % len(usable)]], first + number // len(usable))
            outcome.injections.append(injection)
            told(injection)
        outcome.at_the_end = await running.ended()
        outcome.acknowledged, outcome.tried = running.arena.model.acknowledged, running.arena.model.tried
    outcome.seconds = time.perf_counter() - began
    return outcome
