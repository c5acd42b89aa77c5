"""`row-security`: what row-level security costs the application, and the reader whom it is for.

Two databases with the same sessions, one with it and one without. The application appends, and reads what is kept in
Postgres: there is no cache. The reader asks by SQL; where nothing is hidden from it, it says in its `where` what the
policies say elsewhere.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from secrets import token_hex
from time import perf_counter
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from benchmarks.benchmark import STORED, Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.server import Ground
from benchmarks.sessions import LoadedSession, all_there, start_sessions
from benchmarks.workload import Workload
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.roles import Roles, role_statements
from turnlog.infrastructure.store.statements import Statements

_ON, _OFF = "with row-level security", "without"
_APPENDS, _READS, _READER = "the application appends", "the application reads", "the reader reads"
_RATE, _VIEW, _LIST = "events/s", "a view, ms", "a list, ms"
_ONE, _ALL = "one session, ms", "all of a user, ms"
_OWN = "reader"  # the user whom the reader looks at
_READS_AT_LEAST = 5

_EVENTS_OF_ONE: dict[str, str] = {
    _ON: "select state from turnlog_events where originator_id = %s order by originator_version",
    _OFF: "select state from turnlog_events where originator_id = %s and exists (select from turnlog_sessions "
    "where session_id = originator_id and user_id = 'reader' and not deleted) order by originator_version",
}
_EVENTS_OF_ALL: dict[str, str] = {
    _ON: "select count(*) from turnlog_events",
    _OFF: "select count(*) from turnlog_events join turnlog_sessions on session_id = originator_id "
    "where user_id = 'reader' and not deleted",
}


@dataclass(frozen=True, slots=True)
class RowSecurityOptions:
    """A visit appends one answer a session, or reads for a while and gives the medians."""

    sessions: int = option(100, "Concurrent sessions that append.")
    deltas: int = option(100, "Deltas a session on each visit.")
    own: int = option(10, "Sessions of the user whom the reader looks at.")
    seconds: float = option(0.4, "How long a visit reads.")
    repeat: int = option(21, "Visits to each.")


async def measure(options: RowSecurityOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    async with AsyncExitStack() as stack:
        roles = _roles()
        stack.callback(_drop, roles, ground)
        say("setting up")
        sides = [await stack.enter_async_context(_side(options, ground, roles, name)) for name in (_ON, _OFF)]
        entries = [
            Entry(case, side.name, visit)
            for side in sides
            for case, visit in ((_APPENDS, side.appends), (_READS, side.reads), (_READER, side.reader))
        ]
        samples = await interleaved(entries, options.repeat, say)
        say("verifying")
        return Report(
            benchmark="row-security",
            title="What row-level security costs",
            options=asdict(options),
            samples=samples,
            verified=all([await side.is_right() for side in sides]),
            checked=f"{STORED}, and the reader is shown its user's events",
            machine=machine_of(ground),
            ratios=_ratios(samples),
        )


class _Side:
    """One of the two databases."""

    def __init__(self, options: RowSecurityOptions, name: str, url: str, log: SessionLog, reader: Any) -> None:
        self.name = name
        self._options = options
        self._url = url
        self._log = log
        self._reader: AsyncConnection[Any] = reader
        self._workload = Workload()
        self._others: list[LoadedSession] = []
        self._own: list[LoadedSession] = []

    async def fill(self) -> None:
        """The sessions of the reader's user."""
        self._own = await start_sessions(self._log, self._options.own, self._workload, _OWN)
        await self._turn(self._own)

    async def appends(self) -> Numbers:
        """A turn in new sessions. Each waits until its delta is durable before it sends the next one."""
        sessions = await start_sessions(self._log, self._options.sessions, self._workload)
        self._others += sessions
        return {_RATE: await self._turn(sessions)}

    async def _turn(self, sessions: Sequence[LoadedSession]) -> float:
        async with AsyncExitStack() as stack:
            answers = await asyncio.gather(*(session.begin(stack) for session in sessions))
            began = perf_counter()

            async def stream(number: int) -> None:
                for _ in range(self._options.deltas):
                    await sessions[number].send_at_once(answers[number], 1)

            await asyncio.gather(*map(stream, range(len(sessions))))
            seconds = perf_counter() - began
            await asyncio.gather(*(each.finish(answer) for each, answer in zip(sessions, answers, strict=True)))
        return len(sessions) * self._options.deltas / seconds

    async def reads(self) -> Numbers:
        """A view and a list, from Postgres."""
        session_id = self._own[0].session.id

        async def listed() -> None:
            await self._log.list_sessions(_OWN)

        async def viewed() -> None:
            await self._log.session(session_id, _OWN).view()

        return {_VIEW: await self._median(viewed), _LIST: await self._median(listed)}

    async def reader(self) -> Numbers:
        """The events of one session, and how many its user has in all."""
        one = partial(self._ask, _EVENTS_OF_ONE[self.name], self._own[0].session.id)
        return {_ONE: await self._median(one), _ALL: await self._median(partial(self._ask, _EVENTS_OF_ALL[self.name]))}

    async def _ask(self, statement: str, *params: Any) -> list[Any]:
        cursor = await self._reader.execute(statement.encode(), params)
        return await cursor.fetchall()

    async def _median(self, read: Callable[[], Awaitable[Any]]) -> float:
        until, times = perf_counter() + self._options.seconds / 2, list[float]()
        while len(times) < _READS_AT_LEAST or perf_counter() < until:
            began = perf_counter()
            await read()
            times.append(perf_counter() - began)
        return statistics.median(times) * 1e3

    async def is_right(self) -> bool:
        """Whether all is stored, and the reader sees what it is to see."""
        shown = await self._ask(_EVENTS_OF_ALL[self.name])
        own = sum(session.acknowledged for session in self._own)
        return shown == [(own,)] and await all_there(self._url, [*self._own, *self._others])


@asynccontextmanager
async def _side(options: RowSecurityOptions, ground: Ground, roles: Roles, name: str) -> AsyncIterator[_Side]:
    url = ground.database(name)
    async with SessionLog.open(_settings(url)):
        pass  # so that its tables are there
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(role_statements(Statements(), roles, row_security=name == _ON))
        for role in (roles.application, roles.reader):
            admin.execute(SQL("grant {} to current_user").format(Identifier(role)))
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(SessionLog.open(_settings(_as(url, roles.application))))
        reader = await AsyncConnection.connect(_as(url, roles.reader), autocommit=True)
        stack.push_async_callback(reader.close)
        await reader.execute("select set_config('turnlog.principal', %s, false)", (_OWN,))
        side = _Side(options, name, url, log, reader)
        await side.fill()
        yield side


def _settings(url: str) -> Settings:
    return Settings.from_env({"DATABASE_URL": url, "REDIS_URL": "none"})


def _as(url: str, role: str) -> str:
    return make_conninfo(url, options=f"-c role={role}")


def _roles() -> Roles:
    """Of the run's own: roles belong to the whole server."""
    return Roles(*(f"turnlog_bench_{token_hex(4)}_{kind}" for kind in ("owner", "application", "reader")))


def _drop(roles: Roles, ground: Ground) -> None:
    names = [Identifier(name) for name in (roles.reader, roles.application, roles.owner)]
    for side in (_ON, _OFF):
        with psycopg.connect(ground.database(side), autocommit=True) as admin:
            for name in names:  # one by one: together they are refused where they are in one default privilege
                admin.execute(SQL("drop owned by {} cascade").format(name))
    with psycopg.connect(ground.database(_ON), autocommit=True) as admin:
        admin.execute(SQL("drop role if exists {}").format(SQL(", ").join(names)))


def _ratios(samples: Samples) -> list[Ratio]:
    def ratio(case: str, quantity: str, target: str | None = None) -> Ratio:
        keys = Key(case, _ON, quantity), Key(case, _OFF, quantity)
        return samples.ratio(f"{case}, with against without: {quantity}", *keys, target)

    return [
        ratio(_APPENDS, _RATE, "row-security"),
        ratio(_READS, _VIEW),
        ratio(_READS, _LIST),
        ratio(_READER, _ONE),
        ratio(_READER, _ALL),
    ]


ROW_SECURITY = Benchmark(
    "row-security",
    "Row-level security on and off.",
    RowSecurityOptions,
    {"sessions": 20, "deltas": 50, "seconds": 0.2, "repeat": 2},
    measure,
)
