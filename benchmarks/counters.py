"""What some work costs the servers, counted: it does not depend on how busy the machine is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, ClassVar

import psycopg

from benchmarks.server import Ground
from benchmarks.systems import System, running
from benchmarks.wire import StatementCounter
from turnlog.domain.errors import StoreError

# Rows that scans gave, by table and by index, in what users made and in what is stored out of line for them: objects of
# the system have ids below 16384.
_ROWS_READ = """
select (select coalesce(sum(seq_tup_read), 0) from pg_stat_all_tables where relid::bigint >= 16384)
    + (select coalesce(sum(idx_tup_read), 0) from pg_stat_all_indexes where relid::bigint >= 16384)
"""
_OTHERS = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
_PATIENCE_SECONDS = 10.0

Counts = dict[str, float]


class Counters:
    """Of one system. Postgres' own count of rows is complete when a connection has ended: so each count opens the
    system anew, and what opening costs is counted by itself."""

    FLAT: ClassVar = ("statements", "rows read", "bytes to Redis", "WAL bytes")
    """What may not grow with the session."""

    def __init__(self, ground: Ground, system: str) -> None:
        self._ground = ground
        self._system = system
        self._url = ground.database(system)

    async def of(self, kind: type[System], work: Callable[[System], Awaitable[None]]) -> Counts:
        """What opening the system, this work and closing it cost."""
        before = await self._now()
        with StatementCounter(self._url) as wire:
            async with running(kind, self._ground, wire.url) as system:
                await work(system)
            statements, given = wire.statements, wire.given
        after = await self._now()
        return {
            "statements": statements,
            "bytes from Postgres": given,
            **{name: after[name] - before[name] for name in after},
        }

    async def _now(self) -> Counts:
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            until = perf_counter() + _PATIENCE_SECONDS
            while await _number(connection, _OTHERS):
                if perf_counter() > until:
                    raise StoreError(f"{self._system} leaves connections open")
                await asyncio.sleep(0.01)
            rows = await _number(connection, _ROWS_READ)
        sent, given = self._ground.redis_traffic()
        return {
            "rows read": rows,
            "bytes to Redis": sent,
            "bytes from Redis": given,
            "WAL bytes": self._ground.wal_bytes(),
        }


def counted(nothing: Counts, some: Counts, times: int) -> Counts:
    """What the work cost, each time. Fractions of a byte are the digits of the counters themselves."""
    cost = {name: (some[name] - nothing[name]) / times for name in some}
    return {name: round(each) if "bytes" in name else each for name, each in cost.items()}


async def _number(connection: psycopg.AsyncConnection[Any], query: str) -> int:
    row = await (await connection.execute(query)).fetchone()
    return int(row[0]) if row else 0
