"""`lists`: what a page of a list reads in a store of a million sessions, against one of a thousand: the first page and
one far behind it, for each filter; and what a live event costs the write-ahead log there.

The sessions are made by SQL, with random ids, as an old store has them. Most of them are of one user, and have one
status, so that there is a page so far behind. In the second part new sessions are recorded among them, right after a
checkpoint, when each page that is touched goes into the write-ahead log as a whole: with the ids that turnlog gives,
which are in the order of time, and with random ones. Each is of another user, far from the others in the lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from time import perf_counter
from uuid import UUID, uuid4

import psycopg

from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Ratio, Samples, Say, interleaved
from benchmarks.counters import Counters, Counts
from benchmarks.ours import USER, Turnlog
from benchmarks.server import Ground
from benchmarks.systems import System, running
from benchmarks.workload import Workload
from turnlog.domain.turns import TurnStatus
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM, Principal
from turnlog.projections.view import SessionPage

_ROWS, _TIME, _WAL = "rows read", "ms", "WAL bytes an event"
_FIRST, _FAR, _IDS = "first page", "far page", "500 ids"
_NAMED = _BY_TURNLOG, _AT_RANDOM = "new sessions, named by turnlog", "new sessions, with random ids"
_PROMISED = (1_000, 1_000_000)
_SOME_IDS = 500
_AT_ONCE = 20
_CALLS = 5

_OWNERS = ("all", "a user")
_FILTERS: dict[str, tuple[Principal, TurnStatus | None]] = {
    "all": (SYSTEM, None),
    "all, by status": (SYSTEM, "finished"),
    "a user": (USER, None),
    "a user, by status": (USER, "finished"),
}

_FILL = """
create temporary table filled as
    select gen_random_uuid() as id, n, now() - make_interval(secs => n) as at from generate_series(1, {sessions}) n;
insert into turnlog_sessions (session_id, user_id, started_at, updated_at, version, deleted, turn_status, waiting_calls)
    select id, case when n % 50 = 0 then 'user-' || n else '{user}' end, at, at, {events}, false,
        case when n % 40 = 0 then 'failed' else 'finished' end, 0
    from filled order by n desc;
insert into turnlog_events (originator_id, originator_version, topic, state, notification_id, commit_id)
    select id, k, 'text-delta.v1', decode(repeat('20', 100), 'hex'), ({sessions} - n) * {events} + k, n
    from filled, generate_series(1, {events}) k order by n desc, k;
insert into turnlog_keys (session_id, key, value) select id, 'm', 'm' from filled order by n desc;
select setval('turnlog_events_positions', {sessions}::bigint * {events});
drop table filled;
"""
_EVENTS_OF_ONE = 3
_TABLES = "turnlog_events", "turnlog_sessions", "turnlog_keys", "turnlog_heads", "turnlog_pages", "turnlog_writers"


@dataclass(frozen=True, slots=True)
class ListsOptions:
    """The far page is as far as the smaller store has pages, or farther."""

    sizes: tuple[int, ...] = option(_PROMISED, "Sessions in the two stores.")
    limit: int = option(50, "Sessions a page.")
    page: int = option(1_000, "Which page is far.")
    sessions: int = option(200, "New sessions of a visit.")
    deltas: int = option(100, "Deltas of each.")
    repeat: int = option(3, "Visits to each.")


async def measure(options: ListsOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    stores = [_Store(options, ground, size) for size in (0, *options.sizes)]
    for store in stores:
        say(f"{store.name}: filling")
        await store.fill()
    entries = [
        *(
            Entry(f"{name}, {page}", store.name, partial(visit, name))
            for name in _FILTERS
            for store in stores[1:]
            for page, visit in ((_FIRST, store.first_page), (_FAR, store.far_page))
        ),
        *(Entry(f"{name}, {_IDS}", store.name, partial(store.ids, name)) for name in _OWNERS for store in stores[1:]),
        *(Entry(case, store.name, partial(store.events, case)) for case in _NAMED for store in stores),
    ]
    samples = await interleaved(entries, options.repeat, say)
    return Report(
        benchmark="lists",
        title="A store of a million sessions",
        options=asdict(options),
        samples=samples,
        verified=all(store.is_right for store in stores),
        checked="each page has the sessions that SQL finds there",
        machine=machine_of(ground),
        ratios=_ratios(samples, [store.name for store in stores], options.sizes == _PROMISED),
    )


class _Store:
    """One of the stores."""

    def __init__(self, options: ListsOptions, ground: Ground, size: int) -> None:
        self.name = f"{size:,} sessions"
        self.is_right = True
        self._kind: type[Turnlog] = type("Store", (Turnlog,), {"name": self.name})
        self._options = options
        self._ground = ground
        self._size = size
        self._url = ground.database(self.name)
        self._counters = Counters(ground, self.name)
        self._workload = Workload()
        self._nothing: Counts | None = None
        self._far: dict[str, str | None] = {}
        """The cursors of the far pages, by filter."""

    async def fill(self) -> None:
        """Makes the sessions, and walks to the far pages."""
        async with running(self._kind, self._ground) as system:
            await asyncio.to_thread(self._fill_in)
            if self._size:
                for name in _FILTERS:
                    self._far[name] = await self._walked(_log_of(system), name)

    def _fill_in(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            made = _FILL.format(sessions=self._size, user=USER, events=_EVENTS_OF_ONE)
            if self._size:
                connection.execute(made.encode(), prepare=False)
            connection.execute("vacuum analyze")
            for table in _TABLES:  # what it writes would be counted as an event's
                connection.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())

    async def _walked(self, log: SessionLog, name: str) -> str | None:
        """The cursor of the far page; where there are not so many pages, that of the last one that is whole."""
        page, cursor, before = await self._page(log, name, None), None, 0
        for _ in range(self._options.page - 1):
            following = await self._page(log, name, page.next_cursor)
            if following.next_cursor is None:
                break
            before, cursor, page = before + len(page.items), page.next_cursor, following
        found = [item.session_id for item in page.items]
        self.is_right &= found == await asyncio.to_thread(self._listed, name, before)
        return cursor

    async def _page(self, log: SessionLog, name: str, cursor: str | None) -> SessionPage:
        principal, status = _FILTERS[name]
        return await log.list_sessions(principal, self._options.limit, status=status, cursor=cursor)

    def _listed(self, name: str, before: int) -> list[UUID]:
        principal, status = _FILTERS[name]
        tests = ["not deleted", *(["user_id = %(user)s"] if principal is not SYSTEM else [])]
        tests += ["turn_status = %(status)s"] if status else []
        query = f"""select session_id from turnlog_sessions where {" and ".join(tests)}
            order by updated_at desc, session_id offset %(before)s limit %(limit)s"""  # noqa: S608 nobody's input
        asked = {"user": USER, "status": status, "before": before, "limit": self._options.limit}
        with psycopg.connect(self._url) as connection:
            return [session_id for (session_id,) in connection.execute(query.encode(), asked).fetchall()]

    async def first_page(self, name: str) -> Numbers:
        """As it is asked for by whoever knows nothing else: with its total, up to a thousand."""
        return await self._counted(lambda log: self._page(log, name, None))

    async def far_page(self, name: str) -> Numbers:
        """By the cursor of the page before."""
        return await self._counted(lambda log: self._page(log, name, self._far[name]))

    async def ids(self, name: str) -> Numbers:
        """The first of them: repairs and rebuilds go through all."""

        async def some(log: SessionLog) -> None:
            principal, left = _FILTERS[name][0], _SOME_IDS
            async for _ in log.session_ids(principal):
                left -= 1
                if not left:
                    break

        return await self._counted(some)

    async def _counted(self, call: Callable[[SessionLog], Awaitable[object]]) -> Numbers:
        seconds = list[float]()

        async def calls(system: System) -> None:
            for _ in range(_CALLS):
                began = perf_counter()
                await call(_log_of(system))
                seconds.append(perf_counter() - began)

        if self._nothing is None:
            self._nothing = await self._counters.of(self._kind, _idle)
        some = await self._counters.of(self._kind, calls)
        return {_ROWS: (some[_ROWS] - self._nothing[_ROWS]) / _CALLS, _TIME: min(seconds) * 1e3}

    async def events(self, case: str) -> Numbers:
        """New sessions of one turn each, a few at a time."""
        left = list(range(self._options.sessions))
        async with running(self._kind, self._ground) as system:
            await asyncio.to_thread(self._checkpoint)
            before = self._ground.wal_bytes()

            async def record() -> None:
                while left:
                    await self._one(_log_of(system), left.pop(), None if case == _BY_TURNLOG else uuid4())

            await asyncio.gather(*(record() for _ in range(_AT_ONCE)))
            stored = self._options.sessions * (self._options.deltas + 4)
            return {_WAL: (self._ground.wal_bytes() - before) / stored}

    def _checkpoint(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("checkpoint")

    async def _one(self, log: SessionLog, number: int, session_id: UUID | None) -> None:
        user = f"user-{50 * (number * 7_919 % max(1, self._size // 50))}"  # they are far from each other
        session = await log.start_session(user, session_id=session_id)
        await session.say("Go on.")
        async with session.completion(USER) as answer:
            for each in range(self._options.deltas):
                await answer.text(self._workload.delta(number, each))
            await answer.finish()


async def _idle(system: System) -> None:
    """Opening and closing cost something too: that is subtracted."""


def _log_of(system: System) -> SessionLog:
    assert isinstance(system, Turnlog)  # noqa: S101 for the type checker
    return system.log


def _ratios(samples: Samples, stores: Sequence[str], is_promised: bool) -> list[Ratio]:
    """The larger store against the smaller one, the worst of them; and the larger one against an empty one."""
    empty, small, large = stores
    cases = [f"{name}, {page}" for name in _FILTERS for page in (_FIRST, _FAR)] + [
        f"{name}, {_IDS}" for name in _OWNERS
    ]
    rows = [samples.ratio(f"{case}: {_ROWS}", Key(case, large, _ROWS), Key(case, small, _ROWS)) for case in cases]
    worst = [max(repeat) for repeat in zip(*(ratio.samples for ratio in rows), strict=True)]
    wal = [samples.ratio(f"{case}: {_WAL}", Key(case, large, _WAL), Key(case, empty, _WAL)) for case in _NAMED]
    return [
        *rows,
        Ratio(f"{large} against {small}: {_ROWS}, the worst of these", worst, "lists" if is_promised else None),
        replace(wal[0], target="lists-wal" if is_promised else None),
        *wal[1:],
    ]


LISTS = Benchmark(
    "lists",
    "Count what lists read, and an event writes, in a store of a million sessions.",
    ListsOptions,
    {"sizes": (1_000, 10_000), "page": 100, "sessions": 40, "deltas": 20, "repeat": 2},
    measure,
    plots=(_ROWS, _WAL),
)
