"""Clocks of processes that are wrong."""

from __future__ import annotations

from tests.chaos.arena import Arena
from tests.chaos.kinds import kind

DAY = 86_400.0


async def _jumps(arena: Arena, *errors: float) -> None:
    for process, error in zip(arena.processes, errors, strict=False):
        process.order("set_clock", error)
    await arena.hold(0.1, 0.3, 1.5)
    arena.order_all("set_clock", 0.0)


@kind("clock", "the clock of a process jumps a day ahead, and back")
async def clock_ahead(arena: Arena) -> None:
    await _jumps(arena, DAY)


@kind("clock", "the clock of a process jumps a day back, and ahead")
async def clock_behind(arena: Arena) -> None:
    await _jumps(arena, -DAY)


@kind("clock", "the clocks of two processes are hours apart")
async def clocks_apart(arena: Arena) -> None:
    await _jumps(arena, 5 * 3600.0, -7 * 3600.0)


@kind("clock", "a clock goes back and forth all the time")
async def clock_trembles(arena: Arena) -> None:
    for _ in arena.times(5, 12):
        arena.order_all("set_clock", arena.rng.uniform(-90, 90))
        await arena.hold(0.005, 0.02)
    arena.order_all("set_clock", 0.0)
