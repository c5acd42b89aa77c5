"""`replay`: a session folded from its rows, with nothing cached and nothing kept, beside SELECT of those rows."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.benchmark import Benchmark, Report, machine_of, option
from benchmarks.contest import Entry, Key, Numbers, Say, interleaved
from benchmarks.ours import USER
from benchmarks.server import Ground
from benchmarks.sessions import LoadedSession, start_sessions
from benchmarks.workload import Workload
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.settings import Settings
from turnlog.infrastructure.store.statements import EVENTS_TABLE

_OURS = "turnlog"
_ROWS, _WHOLE, _STATES = "SELECT of the rows", "SELECT of all columns", "SELECT of the bodies alone"
_RATE = "events/s"
_COLUMNS = "originator_version, notification_id, topic, state"
_SELECT = SQL("select {} from {} where originator_id = %b order by originator_version")
_FORGET = SQL("delete from turnlog_heads; delete from turnlog_pages")
_VACUUM = SQL("vacuum analyze {}")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """One session of answers that are 500 deltas long."""

    deltas: int = option(10_000, "Deltas of the session.")
    answer: int = option(500, "Deltas an answer.")
    repeat: int = option(9, "Replays, and selects.")


async def measure(options: ReplayOptions, ground: Ground, say: Say) -> Report:
    """Runs the benchmark."""
    say(f"recording {options.deltas} deltas")
    url = ground.database(_OURS)
    replay = _Replay(url, *await _recorded(options, url))
    with replay.connection:
        case = f"{options.deltas:,} deltas"
        visits = ((_OURS, replay.folded), (_ROWS, replay.rows), (_WHOLE, replay.whole), (_STATES, replay.states))
        samples = await interleaved([Entry(case, name, visit) for name, visit in visits], options.repeat, say)
    ours = Key(case, _OURS, _RATE)
    return Report(
        benchmark="replay",
        title="A view folded from the events, with nothing cached and nothing kept",
        options=asdict(options),
        samples=samples,
        verified=replay.all_right,
        checked="each fold gives the text that was sent, from all rows",
        machine=machine_of(ground),
        ratios=[
            samples.ratio(f"turnlog against {_ROWS}", ours, Key(case, _ROWS, _RATE), "replay"),
            *(samples.ratio(f"turnlog against {other}", ours, Key(case, other, _RATE)) for other in (_WHOLE, _STATES)),
        ],
    )


async def _recorded(options: ReplayOptions, url: str) -> tuple[LoadedSession, UUID]:
    """The session, and another one that is short."""
    async with SessionLog.open(Settings.from_env({"DATABASE_URL": url, "REDIS_URL": "none"})) as log:
        session, other = await start_sessions(log, 2, Workload())
        for first in range(0, options.deltas, options.answer):
            async with AsyncExitStack() as stack:
                answer = await session.begin(stack)
                await session.send_at_once(answer, min(options.answer, options.deltas - first))
                await session.finish(answer)
    return session, other.session.id


class _Replay:
    def __init__(self, url: str, session: LoadedSession, other: UUID) -> None:
        self.all_right = True
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute(_VACUUM.format(Identifier(EVENTS_TABLE)))
        self._url = url
        self._id: UUID = session.session.id
        self._other = other
        self._events = session.acknowledged
        self._text = session.workload.text(session.number, 0, session.sent)

    async def folded(self) -> Numbers:
        """By a log that has just been opened, and has read another session: its connection knows the statements, as the
        one that selects does."""
        self.connection.execute(_FORGET, prepare=False)
        async with SessionLog.open(Settings.from_env({"DATABASE_URL": self._url, "REDIS_URL": "none"})) as log:
            await log.session(self._other, USER).view()
            began = perf_counter()
            view = await log.session(self._id, USER).view()
            seconds = perf_counter() - began
        text = "".join(str(step.message.content) for turn in view.turns for step in turn.steps)
        self.all_right &= text == self._text
        return {_RATE: self._events / seconds}

    async def rows(self) -> Numbers:
        """All that the fold needs."""
        return self._selected(SQL(_COLUMNS))

    async def whole(self) -> Numbers:
        """With the session's id, the same in each row, which takes the driver longest."""
        return self._selected(SQL("*"))

    async def states(self) -> Numbers:
        """The bodies, which is not enough to fold."""
        return self._selected(SQL("state"))

    def _selected(self, columns: SQL) -> Numbers:
        query = _SELECT.format(columns, Identifier(EVENTS_TABLE))
        began = perf_counter()
        rows: Iterable[Any] = self.connection.execute(query, (self._id,), binary=True).fetchall()
        seconds = perf_counter() - began
        self.all_right &= len(list(rows)) == self._events
        return {_RATE: self._events / seconds}


REPLAY = Benchmark(
    "replay",
    "Fold 10,000 deltas from their rows, beside SELECT.",
    ReplayOptions,
    {"repeat": 3},
    measure,
    plots=(_RATE,),
)
